"""Tools that fail, hang or are not installed hold up nobody."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.runs import FINISHED, STARTED, wait_until
from torchconsole.engine.config import tracking_schema
from torchconsole.engine.config.tracking_schema import TrackingConfig
from torchconsole.engine.errors import PresetError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.histograms import WeightHistograms
from torchconsole.engine.protocol.info import ConfusionMatrix, WorstSample
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.session.tracking import tracker, trackers
from torchconsole.engine.session.tracking.tracked_run import SentValues, TrackedRun
from torchconsole.engine.session.tracking.tracker import Item, TrackerThread, Values, values_of


class Tool:
    """A tool that notes what it gets; `answer` is called first."""

    def __init__(self) -> None:
        self.got: list[Item] = []
        self.closed = False
        self.answer = lambda: None

    def write(self, items: Sequence[Item]) -> None:
        self.answer()
        self.got += items

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def period(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write so often that no test has to wait for it."""
    monkeypatch.setattr(tracker, "PERIOD", 0.01)


def logged(*steps: int, value: float = 0.5) -> ev.MetricsLogged:
    series = {"train/loss": Points.of(steps, [value] * len(steps))}
    return ev.MetricsLogged(step=steps[-1], epoch=1, active_seconds=1.0, series=series, time=100.0)


def test_whatever_a_library_raises_is_reported_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    tool, attempts = Tool(), []

    def refuse() -> None:
        attempts.append(1)
        if len(attempts) < 4:
            raise RuntimeError("the service is down\nfor hours")

    tool.answer = refuse
    thread = TrackerThread("mlflow", tool)
    thread.add(STARTED)
    wait_until(lambda: tool.got)
    thread.end()
    thread.wait(10.0)
    assert tool.got == [STARTED]
    assert tool.closed
    assert caplog.messages == [
        "tracking.mlflow: cannot be written: the service is down; will try again",
        "tracking.mlflow: can be written again",
    ]


def test_what_has_come_at_the_end_is_written_first() -> None:
    tool = Tool()
    thread = TrackerThread("csv", tool)
    for step in range(1, 101):
        thread.add(logged(step))
    thread.add(FINISHED)
    thread.end()
    thread.wait(10.0)
    assert len(tool.got) == 101
    assert tool.closed


def test_a_tool_that_hangs_holds_up_neither_the_events_nor_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "MOST_ITEMS", 10)
    tool, goes_on = Tool(), threading.Event()
    tool.answer = lambda: goes_on.wait(60) and None
    thread = TrackerThread("wandb", tool)
    for step in range(1, 51):
        thread.add(logged(step))
    thread.end()
    thread.wait(0.01)
    assert "tracking.wandb: does not answer; what it has not written is lost" in capsys.readouterr().err
    goes_on.set()
    thread.wait(10.0)
    assert len(tool.got) <= 20


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking_schema, "find_spec", lambda name: None)
    with pytest.raises(PresetError) as refused:
        trackers.Trackers().open(TrackingConfig(csv=True, tensorboard=True, wandb=True), place=None)  # type: ignore[arg-type]
    assert str(refused.value).splitlines() == [
        "tracking.tensorboard: requires tensorboard: pip install 'torchconsole[tensorboard]', or set "
        "tracking.tensorboard = false",
        "tracking.wandb: requires wandb: pip install 'torchconsole[wandb]', or set tracking.wandb = false",
    ]


def test_a_package_that_cannot_be_imported_is_an_error_of_the_preset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(name: str) -> None:
        raise TypeError("cannot create descriptors\nregenerate them")

    monkeypatch.setattr(tracking_schema, "find_spec", lambda name: True)
    monkeypatch.setattr(trackers, "import_module", refuse)
    with pytest.raises(PresetError) as refused:
        trackers.Trackers().open(TrackingConfig(wandb=True), place=None)  # type: ignore[arg-type]
    assert str(refused.value) == (
        "tracking.wandb: cannot be imported: TypeError: cannot create descriptors; reinstall it: pip install "
        "--force-reinstall 'torchconsole[wandb]', or set tracking.wandb = false"
    )


def test_only_tensorboard_gets_what_the_others_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = {"csv": Tool(), "tensorboard": Tool(), "mlflow": Tool()}
    monkeypatch.setattr(TrackingConfig, "require_packages", lambda config: None)
    monkeypatch.setattr(trackers, "_import", lambda key: lambda place: tools[key])
    wanted = TrackingConfig(csv=True, tensorboard=True, mlflow=True)
    fields: dict[str, Any] = {
        "step": 5,
        "epoch": 1,
        "metrics": {"val/loss": 0.5},
        "seconds": 1.0,
        "time": 7.0,
    }
    plain = ev.EvaluationCompleted(**fields)
    worst = WorstSample(index=0, place="0", loss=None, label="a", predicted="b")
    confusion = ConfusionMatrix(classes=["a", "b"], counts=[[3, 1], [0, 4]])
    whole = ev.EvaluationCompleted(**fields, confusion=confusion, worst=[worst])
    histograms = WeightHistograms(5, 7.0, {})
    opened = trackers.Trackers()
    opened.open(wanted, place=None)  # type: ignore[arg-type]
    opened.receive(whole)
    opened.add(histograms)
    opened.receive(FINISHED)
    opened.close()
    assert tools["tensorboard"].got == [whole, histograms, FINISHED]
    assert tools["csv"].got == tools["mlflow"].got == [plain, FINISHED]


def test_all_that_waits_is_written_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "MOST_ITEMS", 10)
    tool, answering, goes_on = Tool(), threading.Event(), threading.Event()

    def refuse_once() -> None:
        if not goes_on.is_set():
            answering.set()
            goes_on.wait(60)
            raise RuntimeError("down")

    tool.answer = refuse_once
    thread = TrackerThread("csv", tool)
    items = [logged(step) for step in range(1, 12)]
    thread.add(items[0])
    assert answering.wait(60)
    # One waits in the attempt that fails, and ten more, of which the last attempt takes nine.
    for item in items[1:]:
        thread.add(item)
    thread.end()
    goes_on.set()
    thread.wait(10.0)
    assert tool.got == items


def test_values_are_those_of_the_steps_and_of_evaluations() -> None:
    series = {"train/loss": Points.of([1, 2], [0.5, float("inf")]), "lr": Points.of([2], [0.1])}
    event = ev.MetricsLogged(step=2, epoch=1, active_seconds=1.0, series=series, time=100.0)
    assert list(values_of(event)) == [
        Values(1, 100.0, {"train/loss": 0.5}),
        Values(2, 100.0, {"train/loss": float("inf"), "lr": 0.1}),
    ]
    metrics = {"val/loss": 0.25, "val/auroc": None, "val/r2": None}
    evaluated = ev.EvaluationCompleted(
        step=2, epoch=1, metrics=metrics, nonfinite={"val/r2": "-inf"}, seconds=1.0, time=101.0
    )
    assert list(values_of(evaluated)) == [Values(2, 101.0, {"val/loss": 0.25, "val/r2": float("-inf")})]


def test_no_step_is_sent_twice_to_a_tool_that_takes_nothing_back() -> None:
    sent, values = TrackedRun(), SentValues()
    list(values.new([logged(*range(1, 11))], sent))
    assert sent.steps == {"train/loss": 10}
    resumed = ev.RunResumed(step=6, epoch=1, checkpoint="step-00000006")
    again = SentValues().new([resumed, logged(*range(7, 13))], sent)
    assert [each.step for each in again] == [11, 12]
