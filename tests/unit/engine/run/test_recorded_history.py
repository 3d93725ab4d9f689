"""The history of a run of ten million steps is available at once: live, ended and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.fake_checkpoints import fake_checkpoint
from tests.support.runs import FINISHED, STARTED, Served, log_steps, make_folder, point, raw_client
from torchconsole.engine.client.client import connect
from torchconsole.engine.client.recorded_client import RunTail
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import SetLearningRate
from torchconsole.engine.protocol.messages import Snapshot, encode
from torchconsole.engine.protocol.run_state import History, RunState
from torchconsole.engine.protocol.series import Series
from torchconsole.engine.run import recorded_history
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.recorded_history import read_run, read_snapshot, write_history
from torchconsole.engine.run.resume_checks import inherit
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.event_store import EventStore

STEPS = 10_000_000
METRICS = ("train/loss", "lr", "grad_norm", "samples_per_sec")

Damage = Callable[[bytes], bytes]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return make_folder(tmp_path)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """history.json is written after every ten lines."""
    monkeypatch.setattr(recorded_history, "CACHE_EVERY", 10)


def record(folder: RunFolder, *items: ev.Event | tuple[int, int], every: int = 7) -> EventStore:
    """Record events and ranges of steps as a worker would, a few at a time, without closing the store."""
    event_queue = EventQueue()
    store = EventStore(folder, RunState(name=folder.name, folder=str(folder.path)), event_queue)
    for item in items:
        if isinstance(item, tuple):
            for first in range(item[0], item[1] + 1, every):
                log_steps(event_queue, first, min(first + every - 1, item[1]))
                event_queue.emit(ev.PhaseChanged(phase="training"))
                store.drain()
        else:
            event_queue.emit(item)
            store.drain()
    return store


def applied(id: str, step: int) -> ev.CommandApplied:
    return ev.CommandApplied(id=id, command=SetLearningRate(factor=0.5), step=step, result={"lr": 0.05})


def without_history_file(folder: RunFolder) -> tuple[RunState, History]:
    """Read the run from the lines only."""
    kept = folder.history_file.read_bytes()
    folder.history_file.unlink()
    found = read_run(folder)
    folder.history_file.write_bytes(kept)
    return found


def assert_same(found: tuple[RunState, History], expected: tuple[RunState, History]) -> None:
    """Compare all but the number of an event that has no line."""
    assert found[0].seq >= expected[0].seq
    assert found[0].model_copy(update={"seq": expected[0].seq}) == expected[0]
    assert found[1].keys() == expected[1].keys()
    for name, series in expected[1].items():
        assert found[1][name].steps.tolist() == series.steps.tolist()
        np.testing.assert_array_equal(found[1][name].values, series.values)


def spoil_lines(folder: RunFolder, upto: int) -> None:
    """Make the first lines of metrics.jsonl unreadable."""
    lines = folder.metrics_file.read_bytes().splitlines(keepends=True)
    folder.metrics_file.write_bytes(b"".join([b"?\n"] * upto + lines[upto:]))


def test_a_short_run_has_no_history_file(folder: RunFolder) -> None:
    record(folder, STARTED, (1, 50), FINISHED).close()
    assert not folder.history_file.exists()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("ending", [(), (FINISHED,)], ids=["killed", "finished"])
def test_the_history_file_replaces_reading_the_lines(folder: RunFolder, ending: tuple[ev.Event, ...]) -> None:
    record(folder, STARTED, (1, 20), applied("a", 20), (21, 95), *ending)
    expected = without_history_file(folder)
    assert_same(read_run(folder), expected)
    assert len(expected[1]["train/loss"]) == 95
    spoil_lines(folder, upto=80)
    assert_same(read_run(folder), expected)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("back_to", [15, 44, 60])
def test_what_a_resume_dropped_does_not_return(folder: RunFolder, back_to: int) -> None:
    resumed = ev.RunResumed(step=back_to, epoch=1, checkpoint="x")
    record(folder, STARTED, (1, 20), applied("a", 20), (21, 60), applied("b", 60)).close()
    record(folder, resumed, (back_to + 1, back_to + 5)).close()
    found = read_run(folder)
    assert_same(found, without_history_file(folder))
    assert found[1]["train/loss"].steps.tolist() == [*range(1, back_to + 6)]
    assert [one.id for one in found[0].changes] == [id for id, at in (("a", 20), ("b", 60)) if at <= back_to]


@pytest.mark.usefixtures("often")
def test_a_record_older_than_the_history_is_updated_from_it(folder: RunFolder) -> None:
    store = record(folder, STARTED)
    launched = folder.load_record()
    store.close()
    record(folder, (1, 40), applied("a", 40), (41, 48))
    folder.write_record(launched)
    found = read_run(folder)
    assert_same(found, without_history_file(folder))
    assert (found[0].step, found[0].lr) == (48, 0.1)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-100],
        lambda text: b"",
        lambda text: b"\x00" * len(text),
        lambda text: text.replace(b'"steps":[1,', b'"steps":['),
        lambda text: text.replace(b'"steps":[1,', b'"steps":[99999999999999999999,'),
        lambda text: text.replace(b'"nonfinite":{}', b'"nonfinite":{"5000":"nan"}'),
    ],
)
def test_a_damaged_history_file_is_rebuilt_from_the_lines(folder: RunFolder, damage: Damage) -> None:
    record(folder, STARTED, (1, 40)).close()
    expected = without_history_file(folder)
    text = folder.history_file.read_bytes()
    assert damage(text) != text
    folder.history_file.write_bytes(damage(text))
    assert_same(read_run(folder), expected)
    record(folder, (41, 41)).close()
    assert folder.history_file.read_bytes().startswith(b"{"), "the next worker writes it again"
    spoil_lines(folder, upto=40)
    assert read_run(folder)[1]["train/loss"].steps.tolist() == [*range(1, 42)]


@pytest.mark.usefixtures("often")
def test_a_branched_run_inherits_the_history(folder: RunFolder, tmp_path: Path) -> None:
    record(folder, STARTED, (1, 60)).close()
    checkpoint = fake_checkpoint(folder, 30)
    branch = make_folder(tmp_path, "branch")
    inherit(folder, checkpoint, branch)
    spoil_lines(branch, upto=40)
    record(branch, ev.RunResumed(step=30, epoch=1, checkpoint=checkpoint.name), (31, 33)).close()
    state, history = read_run(branch)
    assert (state.name, state.step) == (branch.name, 33)
    assert history["train/loss"].steps.tolist() == [*range(1, 34)]


def long_run(folder: RunFolder) -> RunFolder:
    """The files of a run of ten million steps; its lines cannot be read."""
    history: History = {}
    steps = np.arange(1, STEPS + 1, 10)
    for number, name in enumerate(METRICS):
        history[name] = Series()
        history[name].append(steps, np.random.default_rng(number).random(len(steps)))
    state = RunState(name=folder.name, folder=str(folder.path), seq=STEPS, step=STEPS)
    write_history(folder, Snapshot(state=state, history={name: s.to_points() for name, s in history.items()}))
    folder.metrics_file.write_bytes(b"?\n" * 1000)
    return folder


async def test_a_client_of_a_resumed_run_gets_the_history_of_ten_million_steps(folder: RunFolder) -> None:
    with Served(long_run(folder)) as served:
        served.event_queue.emit(ev.RunResumed(step=STEPS, epoch=9, checkpoint="x"))
        served.event_queue.log(point(STEPS + 1))
        served.event_queue.emit(STARTED)
        async with raw_client(served.address) as client:
            snapshot = await client.receive_snapshot()
    for name in METRICS[:2]:
        steps = np.array(snapshot.history[name].steps)
        assert steps[-1] == STEPS + 1
        assert np.diff(steps, prepend=0).max() < STEPS / 400, "no part of the run is missing"
    assert len(encode(snapshot)) < 500_000


async def test_the_history_of_ten_million_steps_is_read_without_their_lines(folder: RunFolder) -> None:
    record(long_run(folder), ev.RunResumed(step=STEPS, epoch=9, checkpoint="x"), FINISHED).close()
    async with connect(folder) as client:
        assert client.snapshot.state.status == "finished"
        assert client.snapshot.history["train/loss"].steps[-1] == STEPS - 9
    assert client.snapshot == read_snapshot(folder)


def test_reading_all_lines_reports_progress(folder: RunFolder) -> None:
    record(folder, STARTED, (1, 5000), every=5000).close()
    fractions: list[float] = []
    read_snapshot(folder, fractions.append)
    assert fractions == sorted(fractions)
    assert len(fractions) > 2
    assert fractions[-1] == 1.0


def test_a_tail_begins_after_the_requested_number(folder: RunFolder) -> None:
    record(folder, STARTED, (1, 5000), every=5000).close()
    text = folder.metrics_file.read_bytes()
    half = text.index(b'"step":2500,')
    folder.metrics_file.write_bytes(b"{}\n" * (half // 3) + text[text.index(b"\n", half) + 1 :])
    assert [event.seq for event in RunTail(folder, after=4990).read()] == [*range(4991, 5002)]
