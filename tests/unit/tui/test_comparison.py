"""Comparing runs: metrics, settings, seeds, positions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.compared_runs import NOW, add_compared_run, add_history
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.charts.plot import PlotStyle
from torchconsole.tui.cli import compare as compare_command
from torchconsole.tui.compare_charts import draw_chart
from torchconsole.tui.compare_lines import draw_runs, draw_settings
from torchconsole.tui.compare_view import CompareView
from torchconsole.tui.comparison import Comparison, read_compared, to_json
from torchconsole.tui.widgets.lines import Line, line_width

SEED = "[training]\nseed = {}\n[optimizer]\nlr = {}"


def compared(*folders: RunFolder) -> Comparison:
    """Read runs."""
    return Comparison([read_compared(folder.read_record()) for folder in folders])


@pytest.fixture
def three(tmp_path: Path) -> list[RunFolder]:
    """Two runs that differ in the seed alone, of which one is shorter, and one with another lr."""
    return [
        add_compared_run(tmp_path, "one", SEED.format(1, 0.1), 5),
        add_compared_run(tmp_path, "two", SEED.format(2, 0.1), 3, scale=0.9),
        add_compared_run(tmp_path, "three", SEED.format(1, 0.2), 5, scale=2, status="failed", reason="no"),
    ]


def text_of(lines: list[Line]) -> str:
    """Return lines as text."""
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_a_metric_that_a_run_does_not_have_is_not_the_first(three: list[RunFolder]) -> None:
    lines = three[0].metrics_file.read_text(encoding="utf-8").splitlines(keepends=True)
    without = [line for line in lines if '"val/loss"' not in line]
    three[0].metrics_file.write_text("".join(without), encoding="utf-8")
    assert compared(*three).metrics == ["train/loss", "lr", "val/loss", "val/accuracy"]


def test_best_and_final_of_every_metric(three: list[RunFolder]) -> None:
    comparison = compared(*three)
    assert comparison.metrics == ["val/loss", "val/accuracy", "train/loss", "lr"]
    found = to_json(comparison, comparison.metrics)
    first = found["runs"][0]["metrics"]
    assert first["val/loss"]["best_step"] == 500
    assert first["val/loss"]["best"] == first["val/loss"]["final"] < first["train/loss"]["final"] * 1.2
    assert first["val/accuracy"]["mode"] == "max"
    assert first["lr"] == {"best": None, "best_step": None, "final": 0.1, "mode": "max"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_only_the_settings_that_differ_and_the_seeds(three: list[RunFolder]) -> None:
    comparison = compared(*three)
    assert comparison.differing == ["training.seed", "optimizer.lr"]
    (group,) = comparison.groups
    assert list(group.members) == [0, 1]
    (found,) = to_json(comparison, ["val/loss"])["same_but_seed"]
    assert found["seeds"] == [1, 2]
    best = found["metrics"]["val/loss"]["best"]
    assert best["min"] < best["mean"] < best["max"]


def test_what_is_measured_follows_from_the_seed(tmp_path: Path) -> None:
    measured = "[data.normalize]\nmean = [{}]\nstd = [1.0]\n[training]\nseed = {}"
    one = add_compared_run(tmp_path, "one", measured.format(0.1, 1), 1)
    two = add_compared_run(tmp_path, "two", measured.format(0.2, 2), 1)
    assert compared(one, two).differing == ["training.seed"]
    assert len(compared(one, two).groups) == 1


def test_values_at_a_position_of_runs_of_different_lengths(three: list[RunFolder]) -> None:
    first, second, _ = compared(*three).runs
    assert first.value_at("val/loss", 99) is None
    assert first.value_at("val/loss", 100) == first.value_at("val/loss", 199)
    assert second.value_at("val/loss", 300) is not None
    assert second.value_at("val/loss", 301) is None
    assert second.value_at("nothing", 10) is None


def test_a_value_that_is_not_finite_is_neither_best_nor_hidden(tmp_path: Path) -> None:
    one = add_compared_run(tmp_path, "one", "", 3)
    add_history(one, 3, bad_at=3)
    two = add_compared_run(tmp_path, "two", "", 3)
    comparison = compared(one, two)
    best = comparison.runs[0].best("val/loss")
    assert best is not None
    assert best[0] == 200
    assert to_json(comparison, ["val/loss"])["runs"][0]["metrics"]["val/loss"]["final"] is None
    assert "NaN" in text_of(draw_runs(CompareView(comparison, "val/loss"), 120))


def test_runs_that_cannot_be_read_are_compared_with_their_reason(three: list[RunFolder]) -> None:
    records = [folder.read_record() for folder in three]
    three[1].run_file.write_text("{")
    three[2].preset_file.unlink()
    comparison = Comparison([read_compared(record) for record in records])
    assert "run.json" in comparison.runs[1].problem
    view = CompareView(comparison, "val/loss")
    for width in (20, 40, 80, 200):
        lines = [*draw_runs(view, width), *draw_settings(view, width)]
        assert all(line_width(line) <= width for line in lines)
    assert "cannot be read" in text_of(draw_runs(view, 120))
    json.dumps(to_json(comparison, comparison.metrics), allow_nan=False)


@pytest.mark.parametrize("unit", ["step", "epoch", "minutes"])
def test_zoom_pan_and_cursor_stay_inside(three: list[RunFolder], unit: str) -> None:
    view = CompareView(compared(*three), "val/loss")
    while view.unit != unit:
        view.next_unit()
    whole = view.span
    view.move_cursor(-10, 100)
    assert view.cursor == pytest.approx(view.end * 0.9)
    for _ in range(3):
        view.zoom(0.5)
    first, last = view.span
    assert whole[0] <= first <= view.cursor <= last <= whole[1]
    assert last - first == pytest.approx((whole[1] - whole[0]) / 8)
    for _ in range(100):
        view.pan(-0.5)
    assert view.span[0] == 0
    for _ in range(100):
        view.move_cursor(10, 20)
    assert view.cursor == view.span[1] == whole[1]
    for _ in range(10):
        view.zoom(2)
    assert view.span == whole
    for style in (PlotStyle(), PlotStyle(has_band=False, has_colors=False, has_grid_lines=False)):
        drawn = draw_chart(view, 100, 20, style)
        assert len(drawn.lines) == 20
        assert all(line_width(line) <= 100 for line in drawn.lines)


def test_without_colors_the_lines_end_with_the_numbers_of_their_runs(three: list[RunFolder]) -> None:
    view = CompareView(compared(*three), "val/loss", is_grouped=False)
    plain = PlotStyle(has_band=False, has_colors=False, has_grid_lines=False)
    drawn = text_of(draw_chart(view, 100, 20, plain).lines[:-1])
    assert all(str(number) in drawn.replace("2.5", "") for number in (1, 2, 3))
    assert "✗" in text_of(draw_chart(view, 100, 20, PlotStyle()).lines)


def test_the_reference_and_hidden_runs(three: list[RunFolder]) -> None:
    view = CompareView(compared(*three), "val/loss")
    view.next_reference()
    assert view.reference == 1
    for index in (1, 0, 2):
        view.toggle_run(index)
    assert view.shown == [2]
    view.next_reference()
    assert view.reference == 2
    view.toggle_run(7)
    assert view.hidden == {0, 1}


def test_the_command_prints_tables_and_json(
    three: list[RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [folder.name for folder in three]
    assert compare_command.compare(names, runs_dir=tmp_path) == 0
    printed = capsys.readouterr().out
    for word in ("val/loss best", "@ 500", "one, two differ in the seed alone", "optimizer.lr", "0.2"):
        assert word in printed
    assert compare_command.compare(names, as_json=True, metric=["val/accuracy"], runs_dir=tmp_path) == 0
    found = json.loads(capsys.readouterr().out)
    assert [list(run["metrics"]) for run in found["runs"]] == [["val/accuracy"]] * 3
    with pytest.raises(TorchconsoleError, match="at least two different"):
        compare_command.compare(["one", str(three[0].path)], runs_dir=tmp_path)
    with pytest.raises(TorchconsoleError, match="no run has logged"):
        compare_command.compare(names, metric=["val/acuracy"], runs_dir=tmp_path)


def test_a_presets_name_is_its_newest_run(
    three: list[RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = add_compared_run(tmp_path, "newest", SEED.format(1, 0.3), 2, preset="other", created=NOW)
    add_compared_run(tmp_path, "older", SEED.format(1, 0.3), 2, preset="other", created=NOW - 9)
    assert compare_command.compare(["other", "one"], as_json=True, runs_dir=tmp_path) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["name"] for run in found["runs"]] == [newest.name, "one"]


def test_epochs_are_no_unit_of_a_run_whose_epochs_have_no_known_length(three: list[RunFolder]) -> None:
    view = CompareView(compared(*three[:2]))
    states = [run.state for run in view.comparison.runs if run.state is not None]
    for state in states:
        state.steps_per_epoch = 100
    view.next_unit()
    assert view.unit == "epoch"
    view.next_unit()
    view.next_unit()
    states[0].steps_per_epoch = None
    view.next_unit()
    assert view.unit == "minutes"
