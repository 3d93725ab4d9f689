"""`torchconsole plot`: what is drawn are the logged values, and marks are where something happened."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.runs import Served, make_folder, point
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import EarlyStoppingInfo
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.protocol.series import CAPACITY, Series
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metric_rows import MetricRows
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.x_axis import STEPS
from torchconsole.tui.cli.plot import plot
from torchconsole.tui.cli.plot_figure import draw_figure, save_figure
from torchconsole.tui.cli.plot_panels import (
    PlottedRun,
    XUnit,
    choose_panels,
    needs_log_axis,
    read_plotted,
    trace,
)

pytest.importorskip("matplotlib")

STARTED = ev.RunStarted(steps_per_epoch=5, total_epochs=4, total_steps=20)
STOPPING = EarlyStoppingInfo(
    monitor="val/accuracy", mode="max", patience=9, min_delta=0, counter=0, best=None, best_step=None
)


def loss_at(step: int) -> float:
    return 2 / step + 0.1 * math.sin(step)


def evaluation(step: int, **values: float) -> ev.EvaluationCompleted:
    named = {f"val/{name}": value for name, value in values.items()}
    return ev.EvaluationCompleted(step=step, epoch=1, seconds=0.1, reason="schedule", metrics=named)


def applied(step: int, command: cmd.Command) -> ev.CommandApplied:
    return ev.CommandApplied(id="c", command=command, step=step)


def run_of(runs_dir: Path, *logged: Any, name: str = "digits-mlp") -> RunFolder:
    """Return an ended run with these logged points and events, in this order."""
    with Served(make_folder(runs_dir, name)) as served:
        served.event_queue.emit(STARTED)
        for each in logged:
            (served.event_queue.emit if isinstance(each, ev._Event) else served.event_queue.log)(each)
    return served.folder


@pytest.fixture
def ended(tmp_path: Path) -> RunFolder:
    """A run with evaluations and changes that went back from step 12 to step 10."""
    return run_of(
        tmp_path,
        *(point(step, loss_at(step), lr=0.1) for step in range(1, 6)),
        evaluation(5, loss=0.9, accuracy=0.5, f1=0.4),
        applied(5, cmd.SetLearningRate(value=0.02)),
        *(point(step, loss_at(step), lr=0.02) for step in range(6, 11)),
        applied(7, cmd.PauseRun()),
        applied(7, cmd.UnpauseRun()),
        applied(8, cmd.SaveCheckpoint()),
        evaluation(10, loss=0.4, accuracy=0.9, f1=0.8),
        *(point(step, 99.0, lr=5.0) for step in (11, 12)),
        applied(12, cmd.HoldLearningRate(value=5.0)),
        ev.RunResumed(step=10, epoch=2, checkpoint="step-00000010"),
        *(point(step, loss_at(step), lr=0.02) for step in range(11, 16)),
        evaluation(15, loss=0.6, accuracy=0.8, f1=0.7),
    )


def figure_of(
    *folders: RunFolder, metrics: Sequence[str] = (), x: XUnit = "step", smoothing: float | None = 0.0
) -> Any:
    runs = [read_plotted(folder, x) for folder in folders]
    return draw_figure(runs, choose_panels(runs, metrics), smoothing)


def lines_of(axes: Any) -> dict[str, list[list[list[float]]]]:
    """Return the points [x, y] of the lines of each label; those that cross the panels are left out."""
    found: dict[str, list[list[list[float]]]] = {}
    for line in axes.lines:
        if not line.get_label().startswith("_"):
            found.setdefault(line.get_label(), []).append(line.get_xydata().tolist())
    return found


def legend_of(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def axis_labels(figure: Any) -> list[str]:
    return [axes.get_ylabel() for axes in figure.axes]


def test_the_lines_are_the_logged_values(ended: RunFolder) -> None:
    figure = figure_of(ended)
    assert axis_labels(figure) == ["Loss", "Accuracy", "Learning rate"]
    drawn = {name: points for axes in figure.axes for name, points in lines_of(axes).items()}
    rows = list(MetricRows.survey(ended))
    for metric in ("train/loss", "val/loss", "val/accuracy", "lr"):
        (points,) = drawn[metric]
        assert points == [[row["step"], row[metric]] for row in rows if metric in row]
    assert len(drawn["train/loss"][0]) == 15


def test_marks_are_at_the_best_value_and_at_changes(ended: RunFolder) -> None:
    """The hold at step 12 is void, a pause is one mark, and a save is none."""
    figure = figure_of(ended)
    loss, accuracy, lr = map(lines_of, figure.axes)
    assert loss["best"] == [[[10, 0.4]]]
    assert accuracy["best"] == [[[10, 0.9]]]
    assert loss["lr change"] == [[[5, loss_at(5)]]]
    assert loss["other command"] == [[[7, loss_at(7)]]]
    assert (lr["lr change"], lr["other command"]) == ([[[5, 0.1]]], [[[7, 0.02]]])
    assert "lr change" not in accuracy
    for axes in figure.axes:
        crossing = [line.get_xdata() for line in axes.lines if line.get_label().startswith("_")]
        assert sorted(crossing) == [[5, 5], [7, 7]]
    assert legend_of(figure) == ["training", "validation", "best", "lr change", "other command"]


def test_values_that_are_not_finite_are_gaps_with_a_cross(tmp_path: Path) -> None:
    losses = [1.0, math.nan, math.inf, 0.5, 0.4]
    folder = run_of(tmp_path, *(point(step, loss) for step, loss in enumerate(losses, 1)))
    figure = figure_of(folder)
    drawn = lines_of(figure.axes[0])
    assert np.array_equal(
        np.array(drawn["train/loss"][0])[:, 1], [1.0, math.nan, math.nan, 0.5, 0.4], equal_nan=True
    )
    assert [x for x, _ in drawn["not finite"][0]] == [2]
    assert legend_of(figure) == ["training", "not finite"]


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
@pytest.mark.filterwarnings("error")
def test_values_that_are_too_large_to_draw_are_gaps_with_a_plus(tmp_path: Path, smoothing: float) -> None:
    losses = [1.0, 1.7e308, -1.7e308, 0.5, 1e300, 0.4, 1e199]
    folder = run_of(tmp_path, *(point(step, loss) for step, loss in enumerate(losses, 1)))
    figure = figure_of(folder, smoothing=smoothing)
    drawn = lines_of(figure.axes[0])
    assert [x for x, _ in drawn["beyond 1e200"][0]] == [2, 5]
    assert "not finite" not in drawn
    if not smoothing:
        values = [1.0, math.nan, math.nan, 0.5, math.nan, 0.4, 1e199]
        assert np.array_equal(np.array(drawn["train/loss"][0])[:, 1], values, equal_nan=True)
    save_figure(figure, tmp_path / "a.png", "png")


def test_a_smoothed_line_lies_on_the_values(ended: RunFolder) -> None:
    figure = figure_of(ended, smoothing=0.9)
    raw, smooth = lines_of(figure.axes[0])["train/loss"]
    average = 0.0
    for step in range(1, 16):
        average = 0.9 * average + 0.1 * loss_at(step)
        assert smooth[step - 1] == [step, pytest.approx(average / (1 - 0.9**step))]
        assert raw[step - 1] == [step, loss_at(step)]
    assert len(lines_of(figure.axes[0])["val/loss"]) == 1
    assert legend_of(figure)[:2] == ["training", "training, smoothed"]


@pytest.mark.parametrize(("count", "lines"), [(99, 1), (100, 2)])
def test_long_curves_are_smoothed_unless_asked(count: int, lines: int, tmp_path: Path) -> None:
    folder = run_of(tmp_path, *(point(step, loss_at(step)) for step in range(1, count + 1)))
    assert len(lines_of(figure_of(folder, smoothing=None).axes[0])["train/loss"]) == lines


def test_several_runs_have_looks_of_their_own(ended: RunFolder, tmp_path: Path) -> None:
    other = run_of(tmp_path, point(1, 3.0), point(2, 1.0), evaluation(2, loss=0.5), name="other")
    figure = figure_of(ended, other, smoothing=0.9)
    first, second = (line for line in figure.axes[0].lines if line.get_label() == "val/loss")
    assert second.get_xydata().tolist() == [[2, 0.5]]
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()
    kinds = ["training, smoothed", "validation", "best", "lr change", "other command"]
    assert legend_of(figure) == [ended.name, other.name, *kinds]
    assert len(lines_of(figure.axes[0])["train/loss"]) == 2


@pytest.mark.parametrize(
    ("x", "factor", "label"), [("epoch", 1 / 5, "Epoch"), ("minutes", 0.01 / 60, "Training time (minutes)")]
)
def test_x_counts_epochs_or_minutes(x: XUnit, factor: float, label: str, ended: RunFolder) -> None:
    figure = figure_of(ended, x=x)
    (points,) = lines_of(figure.axes[0])["train/loss"]
    assert [at for at, _ in points] == pytest.approx([step * factor for step in range(1, 16)], rel=1e-4)
    assert lines_of(figure.axes[0])["best"][0][0][0] == pytest.approx(10 * factor, rel=1e-4)
    assert figure.axes[0].get_xlabel() == label


@pytest.mark.parametrize(
    ("chosen", "labels", "metrics"),
    [
        (["val/f1"], ["F1"], [{"val/f1"}]),
        (["lr", "loss"], ["Learning rate", "Loss"], [{"lr"}, {"train/loss", "val/loss"}]),
        (["val/loss", "train/loss"], ["Loss"], [{"train/loss", "val/loss"}]),
        (["loss", "accuracy", "f1", "lr"], ["Loss", "Accuracy", "F1", "Learning rate"], None),
    ],
)
def test_metrics_are_chosen_by_name(
    chosen: list[str], labels: list[str], metrics: list[set[str]] | None, ended: RunFolder
) -> None:
    figure = figure_of(ended, metrics=chosen)
    assert axis_labels(figure) == labels
    if metrics:
        assert [
            {name for name in lines_of(axes) if "/" in name or name == "lr"} for axes in figure.axes
        ] == metrics


def test_the_metric_that_decides_about_the_best_has_a_panel(tmp_path: Path) -> None:
    values = {"loss": 1.0, "accuracy": 0.5, "f1": 0.4}
    monitored = STOPPING.model_copy(update={"monitor": "val/f1"})
    updated = ev.EarlyStoppingUpdated(step=1, early_stopping=monitored)
    assert axis_labels(figure_of(run_of(tmp_path, point(1), evaluation(1, **values), updated)))[1] == "F1"


def test_a_program_that_logs_neither_loss_nor_evaluation_has_its_own_metrics(tmp_path: Path) -> None:
    state = RunState(name="a", folder="a")
    history = {}
    for name in ("reward", "steps_left", "lr"):
        history[name] = Series()
        history[name].add(1, 0.5)
    runs = [PlottedRun("a", state, history, STEPS)]
    assert list(choose_panels(runs, ())) == ["reward", "steps_left", "lr"]


@pytest.mark.parametrize(
    ("name", "values", "is_log"),
    [
        ("lr", [0.1] * 50 + [0.001] * 50, True),
        ("lr", [0.1] * 90 + [0.001] * 10, False),
        ("lr", [0.1] * 50 + [0.01] * 50, False),
        ("lr", [0.05 * (1 + math.cos(math.pi * step / 100)) for step in range(100)], False),
        ("lr", [0.1] * 50 + [0.0] * 50, False),
        ("loss", [2.0] * 50 + [0.1] * 50, True),
        ("loss", [2.0] * 50 + [0.3] * 50, False),
        ("loss", [2.0] * 50 + [-0.1] * 50, False),
        ("loss", [2.0] * 50 + [1e30] * 4 + [math.nan], True),
        ("accuracy", [0.01] * 50 + [0.9] * 50, False),
        ("loss", [math.nan], False),
    ],
)
def test_an_axis_is_logarithmic_if_it_would_hide_much(name: str, values: list[float], is_log: bool) -> None:
    curve = Curve.of("", "", np.arange(len(values)), np.array(values))
    assert needs_log_axis(name, [curve]) == is_log


def test_a_long_run_is_thinned_but_keeps_its_extremes() -> None:
    steps = np.arange(1, 200_001)
    values = np.exp(-steps / 5e4)
    values[123_456] = 7.0
    series = Series()
    series.append(steps, values)
    x, y = trace(Curve("", "", series.rows))
    assert len(x) == len(y) <= 2 * CAPACITY
    assert (y.min(), y.max()) == (values.min(), 7.0)
    assert abs(x[int(y.argmax())] - 123_457) < 512
    falling = y[x > 130_000]
    assert (np.diff(falling) <= 0).all(), "there is no zigzag"


@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG\r\n"), ("svg", b"<?xml"), ("pdf", b"%PDF-1.")])
def test_a_file_has_its_format_and_no_chance(
    form: str, start: bytes, ended: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, again = tmp_path / f"a.{form}", tmp_path / f"b.{form.upper()}"
    assert plot([str(ended.path)], output=file) == 0
    assert capsys.readouterr().out == f"{file}: loss, accuracy, lr of {ended.name}\n"
    assert plot([str(ended.path), str(ended.path)], output=again) == 0
    content = file.read_bytes()
    assert content.startswith(start)
    assert content == again.read_bytes()
    if form == "svg":
        assert b">validation</text>" in content
    if form == "pdf":
        assert b"/FontFile2" in content, "letters are TrueType, so that they can be searched and edited"


def test_the_width_is_that_of_a_page_at_200_dots_per_inch(ended: RunFolder, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    assert plot([str(ended.path)], output=tmp_path / "a.png") == 0
    with image.open(tmp_path / "a.png") as opened:
        assert opened.size[0] == 1400
        assert opened.info["dpi"] == pytest.approx((200, 200), abs=0.1)


def test_names_are_neither_hidden_nor_formulas(tmp_path: Path) -> None:
    """matplotlib leaves out labels that begin with an underscore, and typesets those with dollar signs."""
    state = RunState(name="a", folder="a")
    series = Series()
    series.add(1, 0.5)
    runs = [
        PlottedRun(name, state, {"$a_": series}, STEPS) for name in ("_hidden", "$x$" * 30, "\u6a21\u578b")
    ]
    figure = draw_figure(runs, choose_panels(runs, ()), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, tmp_path / "a.png", "png")
    first, second, third = legend_of(figure)
    assert (first, third) == ("_hidden", "\u6a21\u578b")
    assert len(second) == 40
    assert axis_labels(figure) == ["$a "]


@pytest.mark.parametrize("panels", [1, 2, 5])
def test_there_is_room_for_any_number_of_panels_and_runs(panels: int, tmp_path: Path) -> None:
    state = RunState(name="a", folder="a")
    series = Series()
    series.append(np.array([1, 2]), np.array([0.5, 0.4]))
    history = {f"metric{number}": series for number in range(panels)}
    runs = [PlottedRun(f"a-rather-long-name-of-a-run-{number}", state, history, STEPS) for number in range(9)]
    figure = draw_figure(runs, choose_panels(runs, list(history)), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, tmp_path / "a.svg", "svg")
    assert len(figure.axes) == panels
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert all(box.width > 80 and box.height > 80 for box in boxes)
    legend = figure.legends[0].get_window_extent()
    assert 0 <= legend.x0 < legend.x1 <= figure.bbox.x1
    assert 0 <= legend.y0 < legend.y1 < min(box.y0 for box in boxes)


def refused(message: str, **arguments: Any) -> None:
    with pytest.raises(TorchconsoleError) as caught:
        plot(**arguments)
    assert str(caught.value) == message


def test_mistakes_are_refused(ended: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, file = str(ended.path), tmp_path / "a.png"
    refused("-o a.gif: must end in .png, .svg or .pdf", runs=[run], output=Path("a.gif"))
    hint = ", did you mean 'val/accuracy'?"
    refused(
        f"--metric: no run has logged 'val/acuracy'{hint}", runs=[run], output=file, metric=["val/acuracy"]
    )
    empty = make_folder(tmp_path, "empty")
    reason = f"{empty.name} has not logged any metrics, so there is nothing to plot"
    refused(reason, runs=[run, str(empty.path)], output=file)
    other = run_of(tmp_path, point(1, own=1.0), name="other")
    reason = f"{ended.name} has not logged own: leave it out"
    refused(reason, runs=[run, str(other.path)], output=file, metric=["own"])
    assert not file.exists()
    file.write_text("kept")
    refused(f"{file} already exists; pass --force to overwrite it", runs=[run], output=file)
    assert file.read_text() == "kept"
    assert plot([run], output=file, force=True) == 0
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    reason = "plot requires matplotlib: pip install 'torchconsole[plot]'"
    refused(reason, runs=[run], output=tmp_path / "b.png")


@pytest.mark.parametrize(
    ("x", "missing"), [("epoch", "number of steps in an epoch"), ("minutes", "training time")]
)
def test_a_unit_that_is_not_known_is_refused(x: Any, missing: str, tmp_path: Path) -> None:
    with Served(make_folder(tmp_path)) as served:
        served.event_queue.emit(evaluation(5, loss=0.9))
    name = served.folder.name
    reason = f"--x {x}: the {missing} of {name} is not known; use --x step"
    refused(reason, runs=[str(served.folder.path)], output=tmp_path / "a.png", x=x)
