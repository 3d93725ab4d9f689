"""Events have one order, in the files and for clients."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runs import FINISHED, STARTED, limit_file_size, lines_of, log_steps, make_folder, point
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import ChangeSetting, SetLearningRate
from torchconsole.engine.protocol.info import Best, ConfusionMatrix, Telemetry
from torchconsole.engine.protocol.rank_loads import RankLoad
from torchconsole.engine.protocol.run_state import RunState, apply
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.recorded_history import read_run, read_snapshot
from torchconsole.engine.session import event_store
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.event_store import EventStore

BEST = Best(metric="val/loss", value=0.2, step=20)


class Recording:
    """An event store and the events that it published."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.event_queue = EventQueue()
        self.store = EventStore(folder, RunState(name=folder.name, folder=str(folder.path)), self.event_queue)
        self.published: list[ev.Event] = []
        self.store.subscribe(self.published.append)

    def kinds(self) -> list[str]:
        return [event.type for event in self.published]

    def of(self, kind: type[ev.LogWritten]) -> list[ev.LogWritten]:
        return [event for event in self.published if isinstance(event, kind)]


RANKS = ev.RanksMeasured(
    ranks=[RankLoad(rank=rank, host=host, device="cpu") for rank, host in enumerate(("gpu-07", "gpu-08"))]
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return make_folder(tmp_path)


@pytest.fixture
def recording(folder: RunFolder) -> Iterator[Recording]:
    recording = Recording(folder)
    yield recording
    recording.store.close()


def emit_training(event_queue: EventQueue) -> None:
    """Emit the events of two epochs of twenty steps."""
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


def test_metrics_are_published_before_the_events_that_followed_them(recording: Recording) -> None:
    emit_training(recording.event_queue)
    recording.store.drain()
    assert recording.kinds() == [
        "RunStarted",
        *(["MetricsLogged", "EpochCompleted", "EvaluationCompleted"] * 2),
        "CheckpointSaved",
        "CommandApplied",
    ]
    assert [event.series["train/loss"].steps[-1] for event in recording.published[1:5:3]] == [20, 40]  # type: ignore[union-attr]


def test_every_step_and_event_has_its_own_number(recording: Recording) -> None:
    emit_training(recording.event_queue)
    recording.store.drain()
    numbers = [event.seq for event in recording.published]
    assert numbers == [1, 21, 22, 23, 43, 44, 45, 46, 47]
    lines = [line["seq"] for line in lines_of(recording.folder.metrics_file)]
    assert lines == [*range(2, 46)]


def test_lines_describe_what_happened(recording: Recording) -> None:
    emit_training(recording.event_queue)
    recording.store.drain()
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


def test_events_are_on_disk_before_they_are_published(folder: RunFolder) -> None:
    recording = Recording(folder)
    seen: list[int] = []

    def look(event: ev.Event) -> None:
        if isinstance(event, ev.CommandApplied):
            seen.append(len(lines_of(folder.journal_file)) + len(lines_of(folder.metrics_file)))

    recording.store.subscribe(look)
    emit_training(recording.event_queue)
    recording.store.drain()
    assert seen == [45]
    recording.store.close()


def test_nonfinite_numbers_are_null_with_a_flag(recording: Recording) -> None:
    recording.event_queue.log(point(1, loss=math.nan, grad_norm=math.inf))
    recording.event_queue.emit(
        ev.EvaluationCompleted(
            step=1, epoch=1, metrics={"val/loss": None}, nonfinite={"val/loss": "-inf"}, seconds=0.1
        )
    )
    recording.store.drain()
    train, evaluation = lines_of(recording.folder.metrics_file)
    assert (train["train/loss"], train["grad_norm"]) == (None, None)
    assert train["nonfinite"] == {"train/loss": "nan", "grad_norm": "inf"}
    assert evaluation["nonfinite"] == {"val/loss": "-inf"}
    _, history = read_run(recording.folder)
    assert math.isnan(history["train/loss"].values[0])
    assert history["val/loss"].values[0] == -math.inf


def test_the_latest_confusion_matrix_is_in_its_own_file(recording: Recording) -> None:
    for step in (1, 2):
        matrix = ConfusionMatrix(classes=["a", "b"], counts=[[step, 0], [0.5, 1]])
        recording.event_queue.emit(
            ev.EvaluationCompleted(step=step, epoch=1, metrics={}, seconds=0.1, confusion=matrix)
        )
    recording.store.close()
    assert all("confusion" not in line for line in lines_of(recording.folder.metrics_file))
    latest = read_run(recording.folder)[0].last_confusion
    assert latest is not None
    assert latest.step == 2
    assert latest.confusion == matrix
    recording.folder.confusion_file.write_text("{")
    assert read_run(recording.folder)[0].last_confusion is None


def test_a_stream_of_steps_makes_at_most_ten_events_a_second(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for tick in range(10):
        now += event_store.PERIOD
        log_steps(recording.event_queue, 40 * tick + 1, 40 * tick + 30)
        recording.event_queue.emit(ev.EpochCompleted(step=40 * tick + 30, epoch=tick, metrics={}, seconds=1))
        log_steps(recording.event_queue, 40 * tick + 31, 40 * tick + 40)
        recording.store.drain()
    monkeypatch.undo()
    assert recording.kinds().count("MetricsLogged") == 10
    recording.store.close()
    assert len(lines_of(recording.folder.metrics_file)) == 410


def test_the_files_hold_what_the_worker_knew(recording: Recording) -> None:
    emit_training(recording.event_queue)
    recording.event_queue.emit(FINISHED)
    recording.store.drain()
    live = recording.store.snapshot()
    archived = read_snapshot(recording.folder)
    assert archived.history == live.history
    assert archived.state == live.state.model_copy(update={"log": [], "telemetry": None})
    assert archived.state.status == "finished"
    assert archived.state.best == BEST
    assert archived.state.changes[0].result == {"lr": 0.05}
    assert archived.state.config == {"title": "A test", "optimizer": {"lr": 0.1}}


def test_lines_newer_than_the_record_change_the_state(folder: RunFolder) -> None:
    recording = Recording(folder)
    recording.event_queue.emit(STARTED)
    recording.store.drain()
    log_steps(recording.event_queue, 1, 30)
    recording.event_queue.emit(ev.EpochCompleted(step=30, epoch=1, metrics={}, seconds=1))
    recording.store.drain()
    assert folder.load_record().step == 0, "run.json is written once a second"
    state, history = read_run(folder)
    assert (state.step, state.epoch, state.active_seconds) == (30, 1, 0.3)
    assert len(history["train/loss"]) == 30
    recording.store.close()


def test_a_resumed_run_continues_numbers_and_history(folder: RunFolder) -> None:
    first = Recording(folder)
    emit_training(first.event_queue)
    first.store.close()
    with folder.metrics_file.open("a") as file:
        file.write('{"seq": 999, "step": 4')
    second = Recording(folder)
    assert second.store.state.best == BEST
    assert second.store.state.changes[0].id == "c1"
    assert second.store.state.total_steps == STARTED.total_steps
    second.event_queue.emit(ev.RunResumed(step=25, epoch=1, checkpoint="step-00000025"))
    log_steps(second.event_queue, 26, 30)
    second.store.close()
    assert second.published[0].seq == first.published[-1].seq + 1
    _, history = read_run(folder)
    assert history["train/loss"].steps.tolist() == [*range(1, 31)]
    assert history["val/loss"].steps.tolist() == [20]
    assert [line["kind"] for line in lines_of(folder.metrics_file)][-6:] == ["resumed", *["train"] * 5]


def test_a_resume_drops_changes_after_the_checkpoint(folder: RunFolder) -> None:
    first = Recording(folder)
    emit_training(first.event_queue)
    first.store.close()
    second = Recording(folder)
    assert [applied.step for applied in second.store.state.changes] == [40]
    second.store.drain()
    second.event_queue.emit(ev.RunResumed(step=25, epoch=1, checkpoint="step-00000025"))
    command = SetLearningRate(factor=0.5)
    second.event_queue.emit(ev.CommandApplied(id="c2", command=command, step=30, result={"lr": 0.02}))
    second.store.drain()
    assert folder.load_record().lr == 0.05, "run.json is older"
    assert [applied.id for applied in read_run(folder)[0].changes] == ["c2"]
    assert read_run(folder)[0].lr == 0.02
    second.store.close()
    assert [applied.id for applied in read_run(folder)[0].changes] == ["c2"]
    assert len(lines_of(folder.journal_file)) == 2, "nothing is removed from the files"


def test_run_json_has_a_new_status_at_once_and_other_changes_each_second(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    load = recording.folder.load_record

    def drained_after(seconds: float) -> None:
        nonlocal now
        now += seconds
        recording.store.drain()

    recording.store.set_address("/tmp/x.sock")
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
    recording.event_queue.emit(RANKS)
    drained_after(5.0)
    assert load().updated == written, "telemetry is not stored"
    recording.event_queue.emit(ev.RunFailed(reason="no such file", user_error=True))
    drained_after(0.0)
    assert (load().status, load().reason, load().user_error) == ("failed", "no such file", True)
    assert load().details["ranks"]["ranks"][1]["host"] == "gpu-08", "the last loads are kept"


def test_a_full_disk_is_reported_once_and_lines_are_written_later(recording: Recording) -> None:
    recording.event_queue.emit(STARTED)
    log_steps(recording.event_queue, 1, 100)
    recording.store.drain()
    size = recording.folder.metrics_file.stat().st_size
    with limit_file_size(size + 50):
        for first in (101, 201, 301):
            log_steps(recording.event_queue, first, first + 99)
            recording.event_queue.emit(ev.PhaseChanged(phase="saving"))
            recording.store.drain()
        recording.store.drain()
        assert recording.folder.metrics_file.stat().st_size == size
        (failure,) = [log for log in recording.of(ev.LogWritten) if "metrics.jsonl" in log.message]
        assert failure.level == "error"
    recording.store.drain()
    recording.store.drain()
    assert "metrics.jsonl can be written again" in recording.of(ev.LogWritten)[-1].message
    steps = [line["step"] for line in lines_of(recording.folder.metrics_file)]
    assert steps == [*range(1, 401)]


def test_a_long_history_is_decimated_when_read(folder: RunFolder) -> None:
    recording = Recording(folder)
    log_steps(recording.event_queue, 1, 20_000)
    recording.store.close()
    history = read_snapshot(folder).history["train/loss"]
    assert (history.rows().high[0], history.steps[-1]) == (1.0, 20_000)
    assert len(history.steps) < 2000
    assert history.rows().counts.sum() == 20_000


CLIPPED = ev.CommandApplied(
    id="c2",
    command=ChangeSetting(key="training.clip_norm", value="1"),
    step=40,
    detail="training.clip_norm unset -> 1.0",
    result={"key": "training.clip_norm", "before": None, "after": 1.0},
)


def test_a_changed_setting_is_in_the_preset_before_anybody_hears_of_it(recording: Recording) -> None:
    seen: list[str] = []

    def write(folder: RunFolder, changes: int) -> None:
        assert changes == 1
        folder.preset_file.write_text("[training]\nclip_norm = 1.0\n")

    recording.store.place.write_preset = write
    recording.store.subscribe(lambda event: seen.append(recording.folder.preset_file.read_text()))
    recording.event_queue.emit(CLIPPED)
    recording.store.drain()
    assert seen == ["[training]\nclip_norm = 1.0\n"]
    assert recording.store.state.config["training"] == {"clip_norm": 1.0}
    state, _ = read_run(recording.folder)
    assert state.config == {"training": {"clip_norm": 1.0}}
    assert [change.detail for change in state.changes] == ["training.clip_norm unset -> 1.0"]


def test_a_preset_that_cannot_be_written_is_written_later(recording: Recording) -> None:
    written: list[RunFolder] = []

    def fail(folder: RunFolder, changes: int) -> None:
        raise OSError(28, "No space left on device")

    recording.store.place.write_preset = fail
    recording.event_queue.emit(CLIPPED)
    recording.store.drain()
    recording.store.place.write_preset = lambda folder, changes: written.append(folder)
    recording.store.drain()
    recording.store.drain()
    assert [event.message for event in recording.of(ev.LogWritten)] == [
        "preset.toml cannot be written: No space left on device; will try again",
        "preset.toml can be written again",
    ]
    assert written == [recording.folder]


@pytest.mark.parametrize(
    ("result", "config"),
    [
        ({"key": "optimizer.lr", "after": None}, {"title": "x", "optimizer": {}}),
        ({"key": "early_stopping", "after": None}, {"title": "x", "optimizer": {"lr": 0.1}}),
        ({"key": "title.part", "after": 1}, {"title": {"part": 1}, "optimizer": {"lr": 0.1}}),
        ({"key": 3, "after": 1}, {"title": "x", "optimizer": {"lr": 0.1}}),
        ({}, {"title": "x", "optimizer": {"lr": 0.1}}),
    ],
)
def test_a_change_of_any_content_is_taken_over(result: dict[str, object], config: dict[str, object]) -> None:
    """Anybody may have written the journal."""
    before = {"title": "x", "optimizer": {"lr": 0.1}}
    state = RunState(name="a", folder="/a", config=before)
    apply(state, {}, CLIPPED.model_copy(update={"result": result}))
    assert state.config == config
    assert before == {"title": "x", "optimizer": {"lr": 0.1}}
