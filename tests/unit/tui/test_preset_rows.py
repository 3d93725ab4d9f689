"""The rows of the menu's list of presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from torchconsole.engine.config.data_location import DataLocation
from torchconsole.engine.config.preset_index import PresetEntry
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.preset_rows import (
    PresetFigures,
    figures_by_preset,
    format_time,
    grouped,
    matching_presets,
    preset_row,
)
from torchconsole.tui.screens.menu_layout import menu_layout
from torchconsole.tui.widgets.lines import line_width

PRESETS = [
    PresetEntry("b", "B", "about", Path("b.toml"), group="Tables"),
    PresetEntry("a", "A", "", Path("a.toml"), group="Tables", bundled=True),
    PresetEntry("mine", "Mine", "words", Path("mine.toml"), needs="a GPU"),
]


def run(preset: str, metric: str, value: float, seconds: object = 60.0, **facts: Any) -> RunRecord:
    """A run with a best value."""
    best: Any = {"metric": metric, "value": value, "step": 1}
    given: dict[str, Any] = {"status": "finished", "details": {"active_seconds": seconds}}
    return RunRecord("r", "/r", preset=preset, best=best, **given | facts)


def test_presets_are_grouped() -> None:
    rows = [row if isinstance(row, str) else row.name for row in grouped(PRESETS)]
    assert rows == ["Your own", "mine", "Tables", "a", "b"]
    assert [preset.name for preset in matching_presets(PRESETS, "GPU mine")] == ["mine"]


def test_figures_are_those_of_the_best_run_by_the_metric_that_most_runs_monitor() -> None:
    runs = [
        run("p", "val/accuracy", 0.8, status="running", host="elsewhere"),
        run("p", "val/accuracy", 0.9, 30),
        run("p", "val/loss", 0.1),
        run("q", "val/loss", 0.2, "soon"),
        run("q", "val/loss", 0.3, 9),
        RunRecord("x", "/x", preset="empty", status="failed"),
        RunRecord("x", "/x"),
    ]
    figures = figures_by_preset(runs)
    assert figures["p"] == PresetFigures(3, 1, "val/accuracy", 0.9, 30.0)
    assert figures["q"] == PresetFigures(2, 0, "val/loss", 0.2, None)
    assert figures["empty"] == PresetFigures(1, 0)
    assert figures.keys() == {"p", "q", "empty"}


@pytest.mark.parametrize("width", range(12, 120, 7))
@pytest.mark.parametrize("figures", [None, PresetFigures(3, 1, "val/loss", 0.123456, 3.2e5)])
@pytest.mark.parametrize("state", ["here", "missing", "download", "unknown"])
def test_a_row_fits_and_keeps_its_name(width: int, figures: PresetFigures | None, state: Any) -> None:
    preset = PresetEntry("a-name", "A title that is rather long " * 3, "", Path("p"), needs="much " * 9)
    line = preset_row(preset, DataLocation(state), figures, width, 30)
    assert line_width(line) <= width
    assert "a-n" in "".join(text for text, _ in line)


@pytest.mark.parametrize(("width", "is_starred"), [(60, True), (40, False)])
def test_the_best_value_has_a_star_where_the_title_leaves_room(width: int, is_starred: bool) -> None:
    preset = PresetEntry("a", "A short title", "", Path("p"))
    figures = PresetFigures(3, 1, "val/loss", 0.5, 30.0)
    row = "".join(text for text, _ in preset_row(preset, None, figures, width, 6))
    assert ("★ 0.5000" in row) == is_starred
    assert "0.5000" in row
    assert "A s" in row


def test_times_have_one_unit() -> None:
    times = [format_time(seconds) for seconds in (0.04, 0.44, 13.2, 200, 7300, 2e5)]
    assert times == ["0.0 s", "0.4 s", "13 s", "3 min", "2 h", "2 d"]


@pytest.mark.parametrize("size", [(20, 5), (40, 12), (59, 60), (80, 24), (120, 40), (200, 60), (300, 20)])
@pytest.mark.parametrize("runs_have_focus", [True, False])
def test_at_least_half_of_the_height_is_for_the_list_that_has_the_focus(
    size: tuple[int, int], runs_have_focus: bool
) -> None:
    layout = menu_layout(*size, runs_have_focus=runs_have_focus)
    lists = layout.preset_rows, layout.run_rows
    room = max(2, size[1] - 2 - layout.has_preview_line)
    assert sum(lists) == room
    assert 2 * lists[runs_have_focus] >= room
    assert min(lists) >= 1


def test_what_a_preset_needs_gives_way_to_its_title() -> None:
    preset = PresetEntry("demo", "Demo, about a minute", "", Path("demo.toml"), needs="a minute on a CPU")
    narrow, wide = (
        "".join(text for text, _ in preset_row(preset, None, None, width, name_width=24))
        for width in (64, 80)
    )
    assert preset.title in narrow
    assert preset.needs not in narrow
    assert preset.title in wide
    assert wide.endswith(f" {preset.needs}")


def test_without_runs_the_presets_get_the_room_and_a_search_takes_one_row() -> None:
    empty = menu_layout(120, 40, runs_have_focus=False, has_runs=False)
    assert (empty.preset_rows, empty.run_rows) == (35, 3)
    assert menu_layout(40, 12, runs_have_focus=False, has_runs=False).run_rows == 1
    for size in ((40, 12), (80, 24), (120, 40)):
        usual = menu_layout(*size, runs_have_focus=True)
        searching = menu_layout(*size, runs_have_focus=True, is_searching=True)
        rows = [layout.preset_rows + layout.run_rows for layout in (usual, searching)]
        assert rows[0] - rows[1] == 1
