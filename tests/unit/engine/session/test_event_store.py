"""What the training says becomes one order of events, in the files as on the wire."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runs import FINISHED, STARTED, limit_file_size, lines_of, log_steps, make_folder, point
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import SetLearningRate
from torchconsole.engine.protocol.info import Best, ConfusionMatrix, Telemetry
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.recorded_history import read_run, read_snapshot
from torchconsole.engine.session import event_store as recorder_module
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.event_store import EventStore

BEST = Best(metric="val/loss", value=0.2, step=20)


class Recording:
    """A recorder with the events it published."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.event_queue = EventQueue()
        self.recorder = EventStore(
            folder, RunState(name=folder.name, folder=str(folder.path)), self.event_queue, "/tmp/x.sock"
        )
        self.published: list[ev.Event] = []
        self.recorder.subscribe(self.published.append)

    def kinds(self) -> list[str]:
        return [event.type for event in self.published]

    def of(self, kind: type[ev.LogWritten]) -> list[ev.LogWritten]:
        return [event for event in self.published if isinstance(event, kind)]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return make_folder(tmp_path)


@pytest.fixture
def recording(folder: RunFolder) -> Iterator[Recording]:
    recording = Recording(folder)
    yield recording
    recording.recorder.close()


def tell_of_training(event_queue: EventQueue) -> None:
    """Two epochs of twenty steps, with all that happens in them."""
    event_queue.emit(STARTED)
    for epoch in (1, 2):
        log_steps(event_queue, 20 * epoch - 19, 20 * epoch)
        step = 20 * epoch
        event_queue.emit(ev.EpochCompleted(step=step, epoch=epoch, metrics={"train/loss": 0.3}, seconds=1.5))
        event_queue.emit(
            ev.EvaluationCompleted(step=step, epoch=epoch, metrics={"val/loss": 0.2}, seconds=0.5)
        )
    event_queue.emit(ev.CheckpointSaved(step=20, epoch=1, name="step-00000020", reason="best", best=BEST))
    command = SetLearningRate(factor=0.5)
    event_queue.emit(
        ev.CommandApplied(id="c1", command=command, step=40, by="me@pts/1", detail="x", result={"lr": 0.05})
    )


def test_metrics_said_before_an_event_are_seen_before_it(recording: Recording) -> None:
    tell_of_training(recording.event_queue)
    recording.recorder.drain()
    assert recording.kinds() == [
        "RunStarted",
        *(["MetricsLogged", "EpochCompleted", "EvaluationCompleted"] * 2),
        "CheckpointSaved",
        "CommandApplied",
    ]
    assert [event.series["train/loss"].steps[-1] for event in recording.published[1:5:3]] == [20, 40]  # type: ignore[union-attr]


def test_every_step_and_event_has_its_own_number(recording: Recording) -> None:
    tell_of_training(recording.event_queue)
    recording.recorder.drain()
    numbers = [event.seq for event in recording.published]
    assert numbers == [1, 21, 22, 23, 43, 44, 45, 46, 47]
    lines = [line["seq"] for line in lines_of(recording.folder.metrics_file)]
    assert lines == [*range(2, 46)]


def test_a_line_says_what_happened(recording: Recording) -> None:
    tell_of_training(recording.event_queue)
    recording.recorder.drain()
    by_kind = {line["kind"]: line for line in lines_of(recording.folder.metrics_file)}
    assert by_kind.keys() == {"train", "epoch", "evaluation"}
    assert by_kind["train"]["step"] == 40
    assert by_kind["train"]["train/loss"] == 1 / 40
    assert {"seq", "step", "epoch", "time", "active_seconds", "lr"} <= by_kind["train"].keys()
    assert by_kind["epoch"]["train/loss"] == 0.3
    assert by_kind["evaluation"]["val/loss"] == 0.2
    (entry,) = lines_of(recording.folder.journal_file)
    assert entry["command"] == {"type": "SetLearningRate", "value": None, "factor": 0.5}
    assert (entry["step"], entry["by"], entry["result"]) == (40, "me@pts/1", {"lr": 0.05})


def test_what_is_published_is_on_disk(folder: RunFolder) -> None:
    recording = Recording(folder)
    seen: list[int] = []

    def look(event: ev.Event) -> None:
        if isinstance(event, ev.CommandApplied):
            seen.append(len(lines_of(folder.journal_file)) + len(lines_of(folder.metrics_file)))

    recording.recorder.subscribe(look)
    tell_of_training(recording.event_queue)
    recording.recorder.drain()
    assert seen == [45]
    recording.recorder.close()


def test_numbers_that_are_not_finite_are_null_with_a_flag(recording: Recording) -> None:
    recording.event_queue.log(point(1, loss=math.nan, grad_norm=math.inf))
    recording.event_queue.emit(
        ev.EvaluationCompleted(
            step=1, epoch=1, metrics={"val/loss": None}, nonfinite={"val/loss": "-inf"}, seconds=0.1
        )
    )
    recording.recorder.drain()
    train, evaluation = lines_of(recording.folder.metrics_file)
    assert (train["train/loss"], train["grad_norm"]) == (None, None)
    assert train["nonfinite"] == {"train/loss": "nan", "grad_norm": "inf"}
    assert evaluation["nonfinite"] == {"val/loss": "-inf"}
    _, history = read_run(recording.folder)
    assert math.isnan(history["train/loss"].values[0])
    assert history["val/loss"].values[0] == -math.inf


def test_the_latest_confusion_matrix_has_a_file_of_its_own(recording: Recording) -> None:
    for step in (1, 2):
        matrix = ConfusionMatrix(classes=["a", "b"], counts=[[step, 0], [0.5, 1]])
        recording.event_queue.emit(
            ev.EvaluationCompleted(step=step, epoch=1, metrics={}, seconds=0.1, confusion=matrix)
        )
    recording.recorder.close()
    assert all("confusion" not in line for line in lines_of(recording.folder.metrics_file))
    latest = read_run(recording.folder)[0].last_confusion
    assert latest is not None
    assert latest.step == 2
    assert latest.confusion == matrix
    recording.folder.confusion_file.write_text("{")
    assert read_run(recording.folder)[0].last_confusion is None


def test_a_stream_of_steps_makes_ten_events_a_second_at_most(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for tick in range(10):
        now += recorder_module.PERIOD
        log_steps(recording.event_queue, 40 * tick + 1, 40 * tick + 30)
        recording.event_queue.emit(ev.EpochCompleted(step=40 * tick + 30, epoch=tick, metrics={}, seconds=1))
        log_steps(recording.event_queue, 40 * tick + 31, 40 * tick + 40)
        recording.recorder.drain()
    monkeypatch.undo()
    assert recording.kinds().count("MetricsLogged") == 10
    recording.recorder.close()
    assert len(lines_of(recording.folder.metrics_file)) == 410


def test_the_files_tell_what_the_worker_knew(recording: Recording) -> None:
    tell_of_training(recording.event_queue)
    recording.event_queue.emit(FINISHED)
    recording.recorder.drain()
    live = recording.recorder.snapshot()
    archived = read_snapshot(recording.folder)
    assert archived.history == live.history
    assert archived.state == live.state.model_copy(update={"log": [], "telemetry": None})
    assert archived.state.status == "finished"
    assert archived.state.best == BEST
    assert archived.state.changes[0].result == {"lr": 0.05}
    assert archived.state.config == {"title": "A test", "optimizer": {"lr": 0.1}}


def test_lines_beyond_the_record_count_for_the_state(folder: RunFolder) -> None:
    recording = Recording(folder)
    recording.event_queue.emit(STARTED)
    recording.recorder.drain()
    log_steps(recording.event_queue, 1, 30)
    recording.event_queue.emit(ev.EpochCompleted(step=30, epoch=1, metrics={}, seconds=1))
    recording.recorder.drain()
    assert folder.load_record().step == 0, "run.json is written once a second"
    state, history = read_run(folder)
    assert (state.step, state.epoch, state.active_seconds) == (30, 1, 0.3)
    assert len(history["train/loss"]) == 30
    recording.recorder.close()


def test_a_resumed_run_goes_on_with_numbers_and_history(folder: RunFolder) -> None:
    first = Recording(folder)
    tell_of_training(first.event_queue)
    first.recorder.close()
    with folder.metrics_file.open("a") as file:
        file.write('{"seq": 999, "step": 4')
    second = Recording(folder)
    assert second.recorder.state.best == BEST
    assert second.recorder.state.changes[0].id == "c1"
    assert second.recorder.state.total_steps == STARTED.total_steps
    second.event_queue.emit(ev.RunResumed(step=25, epoch=1, checkpoint="step-00000025"))
    log_steps(second.event_queue, 26, 30)
    second.recorder.close()
    assert second.published[0].seq == first.published[-1].seq + 1
    _, history = read_run(folder)
    assert history["train/loss"].steps.tolist() == [*range(1, 31)]
    assert history["val/loss"].steps.tolist() == [20]
    assert [line["kind"] for line in lines_of(folder.metrics_file)][-6:] == ["resumed", *["train"] * 5]


def test_what_was_asked_beyond_a_checkpoint_does_not_count_after_a_resume(folder: RunFolder) -> None:
    first = Recording(folder)
    tell_of_training(first.event_queue)
    first.recorder.close()
    second = Recording(folder)
    assert [applied.step for applied in second.recorder.state.changes] == [40]
    second.recorder.drain()
    second.event_queue.emit(ev.RunResumed(step=25, epoch=1, checkpoint="step-00000025"))
    command = SetLearningRate(factor=0.5)
    second.event_queue.emit(ev.CommandApplied(id="c2", command=command, step=30, result={"lr": 0.02}))
    second.recorder.drain()
    assert folder.load_record().lr == 0.05, "run.json is older"
    assert [applied.id for applied in read_run(folder)[0].changes] == ["c2"]
    assert read_run(folder)[0].lr == 0.02
    second.recorder.close()
    assert [applied.id for applied in read_run(folder)[0].changes] == ["c2"]
    assert len(lines_of(folder.journal_file)) == 2, "nothing is taken out of the files"


def test_run_json_follows_the_status_at_once_and_the_rest_each_second(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    load = recording.folder.load_record

    def drained_after(seconds: float) -> None:
        nonlocal now
        now += seconds
        recording.recorder.drain()

    drained_after(0.0)
    assert (load().status, load().socket) == ("starting", "/tmp/x.sock")
    recording.event_queue.emit(STARTED)
    drained_after(0.0)
    assert load().status == "running"
    recording.event_queue.log(point(7))
    drained_after(0.5)
    assert load().step == 0
    drained_after(0.6)
    assert (load().step, load().lr) == (7, 0.1)
    written = load().updated
    recording.event_queue.emit(ev.TelemetryMeasured(telemetry=Telemetry()))
    drained_after(5.0)
    assert load().updated == written, "telemetry is not kept"
    recording.event_queue.emit(ev.RunFailed(reason="no such file", user_error=True))
    drained_after(0.0)
    assert (load().status, load().reason, load().user_error) == ("failed", "no such file", True)


def test_a_full_disk_is_said_once_and_made_good_later(recording: Recording) -> None:
    recording.event_queue.emit(STARTED)
    log_steps(recording.event_queue, 1, 100)
    recording.recorder.drain()
    size = recording.folder.metrics_file.stat().st_size
    with limit_file_size(size + 50):
        for first in (101, 201, 301):
            log_steps(recording.event_queue, first, first + 99)
            recording.event_queue.emit(ev.PhaseChanged(phase="saving"))
            recording.recorder.drain()
        recording.recorder.drain()
        assert recording.folder.metrics_file.stat().st_size == size
        (said,) = [log for log in recording.of(ev.LogWritten) if "metrics.jsonl" in log.message]
        assert said.level == "error"
    recording.recorder.drain()
    recording.recorder.drain()
    assert "metrics.jsonl can be written again" in recording.of(ev.LogWritten)[-1].message
    steps = [line["step"] for line in lines_of(recording.folder.metrics_file)]
    assert steps == [*range(1, 401)]


def test_a_long_history_is_read_back_thinned(folder: RunFolder) -> None:
    recording = Recording(folder)
    log_steps(recording.event_queue, 1, 20_000)
    recording.recorder.close()
    history = read_snapshot(folder).history["train/loss"]
    assert (history.values[0], history.steps[-1]) == (1.0, 20_000)
    assert len(history.steps) < 5000
