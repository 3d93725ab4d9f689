"""The metrics panel: every metric, its best and its trend, in any size; sparks and waves of any data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.scripted import BEGINNING, ScriptedRun, epochs, epochs_without_improvement
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import History, RunState, apply
from torchconsole.engine.protocol.series import Series
from torchconsole.tui.device_history import metric_over_time
from torchconsole.tui.metric_values import higher_is_better, metric_values
from torchconsole.tui.run_rows import spark as course
from torchconsole.tui.screens.run_plan import Stage
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.frames import history, spark
from torchconsole.tui.widgets.lines import line_width
from torchconsole.tui.widgets.metrics_panels import MetricsPanel
from torchconsole.tui.widgets.waves import wave


def state_after(*events: ev.Event) -> ConsoleState:
    """Return the console's state after these events."""
    run = RunState(name="x", folder="/x")
    past: History = {}
    for event in events:
        apply(run, past, event)
    return ConsoleState(run, past, connection="live")


class Panel(MetricsPanel):
    """The panel outside of an app: the line to its terminal is fast enough for everything."""

    app = None  # type: ignore[assignment]


def drawn(state: ConsoleState, width: int, height: int, stage: Stage = "normal") -> list[str]:
    """Return the panel as lines of text."""
    panel = Panel(state)
    panel.stage = stage
    return ["".join(text for text, _ in line) for line in panel.draw(width, height)]


def test_sparks_reach_from_the_lowest_to_the_highest_value() -> None:
    assert spark(list(range(7)), 7) == "▁▂▃▄▅▆▇"
    assert spark([0.7, 0.7], 7) == "▁▁"
    assert spark([0.0, float("nan"), 1.0], 7) == "▁!▇"
    assert spark([float("nan")], 7) == "!"


def test_a_history_is_drawn_from_0_to_the_limit() -> None:
    assert history([None, 0.0, 0.5, 1.0, 7.0], 6, 2) == ["    ██", "  ▁███"]
    assert history([], 3, 1) == ["   "]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(), max_size=40), st.integers(0, 60), st.integers(0, 4))
def test_any_data_is_drawn_in_any_size(values: list[float], width: int, height: int) -> None:
    steps = np.arange(1, len(values) + 1)
    rows = wave(steps, np.array(values, dtype=float), width, height, marked_step=3).rows
    assert [len(row) for row in rows] == [width] * height
    assert len(spark(values, width)) == min(width, len(values))
    assert line_width(course(values, 60, is_live=True)) == len(values)


def test_values_as_far_apart_as_can_be_are_drawn() -> None:
    for values in ([1.7e308, -1.7e308, 0.0], [1.7976931348623157e308, -9.9792015476736e291]):
        assert spark(values, 9)[0] == "▇"
        assert course(values, 9, is_live=True)[0][0] == "▇"


@pytest.mark.parametrize("stage", ["tiny", "small", "normal", "large"])
@pytest.mark.parametrize(("width", "height"), [(38, 16), (62, 20), (80, 3), (40, 1), (20, 4)])
def test_no_line_is_wider_than_the_panel(stage: Stage, width: int, height: int) -> None:
    state = ConsoleState(ScriptedRun(*BEGINNING, *epochs(1, 9)).snapshot.state)
    assert all(len(line) <= width for line in drawn(state, width, height, stage))


def test_every_metric_has_its_value_and_validation_metrics_their_best() -> None:
    events = [*epochs(1, 7), *epochs_without_improvement(8, 9)]
    grad = ev.MetricsLogged(
        step=207, epoch=9, active_seconds=9, series={"grad_norm": Points.of([206, 207], [1.5, 1.132])}
    )
    text = "\n".join(drawn(state_after(*BEGINNING, *events, grad), 40, 20))
    for words in ("val/accuracy", "val/loss", "train/loss", "grad_norm", "1.1320"):
        assert words in text
    assert text.count("★ 0.") + text.count("★  0.") == 2


def test_metrics_that_do_not_fit_are_counted() -> None:
    metrics: dict[str, float | None] = {f"val/metric_{number}": 0.5 for number in range(20)}
    evaluation = ev.EvaluationCompleted(step=1, epoch=1, metrics=metrics, seconds=1)
    lines = drawn(state_after(evaluation), 40, 10)
    assert "13 more: m in the charts" in lines[-2]


@pytest.mark.parametrize(
    ("name", "higher"),
    [
        ("val/loss", False),
        ("val/ema_loss", False),
        ("val/accuracy", True),
        ("val/mean_absolute_error", False),
        ("val/rmse", False),
        ("val/f1", True),
        ("val/r2", True),
        ("val/perplexity", False),
        ("grad_norm", None),
    ],
)
def test_the_direction_of_a_metric_follows_its_name(name: str, higher: bool | None) -> None:
    assert higher_is_better(name, RunState(name="x", folder="/x")) is higher


def test_the_best_of_many_evaluations_is_one_value_and_no_mean() -> None:
    run, history = RunState(name="x", folder="/x", metrics={"val/f1": 0.5}), {"val/f1": Series()}
    values = np.full(20_000, 0.5)
    values[7000] = 0.9
    history["val/f1"].append(np.arange(20_000), values)
    (found,) = metric_values(run, history)
    assert found.best == 0.9


def test_the_best_of_the_monitored_metric_is_the_one_that_the_run_has_recorded() -> None:
    state = state_after(*BEGINNING, *epochs(1, 5), *epochs_without_improvement(6, 7))
    loss = next(metric for metric in metric_values(state.run, state.history) if metric.name == "val/loss")
    assert state.run.best is not None
    assert (loss.best, loss.best_step) == (state.run.best.value, state.run.best.step)
    assert loss.value == state.run.metrics["val/loss"]
    assert (loss.trend, loss.is_improving) == ("up", False)


def test_a_value_that_cannot_be_computed_is_not_available_and_a_broken_loss_is_nan() -> None:
    past: History = {}
    run = RunState(name="x", folder="/x")
    metrics: dict[str, float | None] = {"val/auroc": None, "val/loss": None}
    apply(run, past, ev.EvaluationCompleted(step=1, epoch=1, metrics=metrics, seconds=1))
    text = "\n".join(drawn(ConsoleState(run, past), 40, 10))
    assert "n/a" in text
    assert "NaN" in text


def test_a_name_that_is_too_long_loses_its_split_first() -> None:
    metrics = {"val/top5_accuracy": 0.9, "val/loss": 1.0}
    state = state_after(*BEGINNING, ev.EvaluationCompleted(step=1, epoch=1, metrics=metrics, seconds=1))
    assert any(line.startswith("│ top5_accuracy ") for line in drawn(state, 38, 12))
    assert any(" top5_accuracy " in line for line in drawn(state, 80, 3, "small"))
    assert "no metrics yet" in "".join(drawn(state_after(), 80, 3, "small"))


def test_the_wait_for_data_is_drawn_over_time() -> None:
    """A step a second: ten measurements are twenty seconds."""
    points = {"data_wait": Points.of([1, 11, 21], [0.1, 0.2, 0.3])}
    state = state_after(*BEGINNING, ev.MetricsLogged(step=21, epoch=1, active_seconds=21.0, series=points))
    values = metric_over_time(state, "data_wait", 20)
    assert values[:9] == [None] * 9
    assert values[-1] == 0.3
    assert values[-2:-7:-1] == [0.2] * 5
