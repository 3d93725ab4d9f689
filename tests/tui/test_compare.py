"""The screen that compares runs: its text in all sizes, its keys and the mouse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.support.compared_runs import add_compared_run, add_history
from tests.support.pilot import press_at_once, shows, until
from tests.support.screen_text import text_of
from tests.support.watching import check_golden
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.screens import compare
from torchconsole.tui.screens.menu import MenuScreen

SETTINGS = "[training]\nseed = {}\nepochs = 5\n[optimizer]\nlr = {}"


@pytest.fixture
def runs(runs_dir: Path) -> list[RunFolder]:
    """Two runs that differ in the seed, a shorter one that was stopped, and one of another model."""
    return [
        add_compared_run(runs_dir, "base", SETTINGS.format(1, 0.1), 8),
        add_compared_run(runs_dir, "base-2", SETTINGS.format(2, 0.1), 8, scale=1.2),
        add_compared_run(runs_dir, "high-lr", SETTINGS.format(1, 0.4), 4, scale=1.6, status="stopped"),
        add_compared_run(runs_dir, "other", SETTINGS.format(1, 0.1) + '\n[model]\nname = "MLP"', 8, scale=2),
    ]


@asynccontextmanager
async def opened(
    runs: list[RunFolder], runs_dir: Path, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[ConsoleApp, compare.CompareScreen, Pilot[RunFolder]]]:
    """Open the screen, and wait until the runs have been read."""
    screen = compare.CompareScreen([folder.read_record() for folder in runs])
    app = ConsoleApp(runs_dir=runs_dir, first_screen=screen)
    async with app.run_test(size=size) as pilot:
        await until(app, pilot, lambda: screen.view.comparison.runs)
        await shows(app, pilot, "val/loss")
        yield app, screen, pilot


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 60)])
async def test_compared_runs_match_their_golden_file(
    runs: list[RunFolder], runs_dir: Path, size: tuple[int, int]
) -> None:
    async with opened(runs, runs_dir, size) as (app, _, pilot):
        await pilot.press("shift+left")
        await pilot.pause()
        check_golden(f"compare-{size[0]}x{size[1]}", text_of(app.screen))


async def test_keys_change_what_is_shown(runs: list[RunFolder], runs_dir: Path) -> None:
    async with opened(runs, runs_dir) as (app, screen, pilot):
        view = screen.view
        for keys, condition in (
            (["n"], lambda: view.metric == "val/accuracy"),
            (["N"], lambda: view.metric == "val/loss"),
            (["n"], lambda: view.metric == "val/accuracy"),
            (["w"], lambda: view.smoothing == 0.9),
            (["w", "w"], lambda: view.smoothing == 0.0),
            (["t"], lambda: view.unit == "epoch"),
            (["t"], lambda: view.unit == "minutes"),
            (["t"], lambda: view.unit == "step"),
            (["2"], lambda: view.hidden == {1}),
            (["2"], lambda: view.hidden == set()),
            (["r"], lambda: view.reference == 1),
            (["equals_sign"], lambda: view.all_settings),
            (["v"], lambda: not view.is_grouped),
            (["left"], lambda: view.cursor is not None and view.cursor < view.end),
            (["home"], lambda: view.cursor == 0),
            (["end"], lambda: view.cursor == view.end),
            (["right_square_bracket"], lambda: view.window == (view.end / 2, view.end)),
            (["comma"], lambda: view.span[1] < view.end),
            (["full_stop"], lambda: view.span[1] == view.end),
            (["f"], lambda: view.cursor is None),
            (["0"], lambda: view.window is None),
            (["left_square_bracket"], lambda: view.window is None),
        ):
            press_at_once(app, *keys)
            await until(app, pilot, condition)
        is_log = screen.chart.is_log
        await pilot.press("y")
        await until(app, pilot, lambda: screen.chart.is_log is not is_log)


async def test_m_finds_a_metric_among_many(runs: list[RunFolder], runs_dir: Path) -> None:
    async with opened(runs, runs_dir) as (app, screen, pilot):
        await pilot.press("m")
        await shows(app, pilot, "words to filter by", "train/loss", "val/accuracy")
        await pilot.press(*"acc")
        await until(app, pilot, lambda: "train/loss" not in text_of(app.screen))
        await pilot.press("enter")
        await until(app, pilot, lambda: screen.view.metric == "val/accuracy")
        await pilot.press("m", "escape")
        await until(app, pilot, lambda: app.screen is screen)
        assert screen.view.metric == "val/accuracy"


async def test_space_selects_the_metrics_that_have_a_chart(runs: list[RunFolder], runs_dir: Path) -> None:
    async with opened(runs, runs_dir) as (app, screen, pilot):
        await pilot.press("m", *"acc", "space", "enter")
        await until(app, pilot, lambda: screen.view.metrics == ["val/loss", "val/accuracy"])
        await shows(app, pilot, "compare  val/loss", "│ val/accuracy")
        check_golden("compare-two-metrics-120x40", text_of(app.screen))
        await pilot.press("m", "enter")
        assert screen.view.metrics == ["val/loss", "val/accuracy"]
        await pilot.press("m", "space", "enter")
        await until(app, pilot, lambda: screen.view.metrics == ["val/accuracy"])
        await pilot.press("m", *"train", "enter")
        await until(app, pilot, lambda: screen.view.metrics == ["train/loss"])


async def test_space_shows_and_hides_the_highlighted_run(runs: list[RunFolder], runs_dir: Path) -> None:
    async with opened(runs, runs_dir) as (app, screen, pilot):
        await shows(app, pilot, "space show/hide")
        press_at_once(app, "j", "space", "G", "space", "k", "j", "space")
        await until(app, pilot, lambda: screen.runs.highlighted == 3 and screen.view.hidden == {1})
        await pilot.press("tab", "g", "j")
        assert screen.focused is screen.settings
        assert screen.settings.highlighted == 1
        await pilot.press("tab", "g", "space")
        assert screen.focused is screen.runs
        await until(app, pilot, lambda: screen.view.hidden == {0, 1})


async def test_the_mouse_moves_the_cursor_zooms_and_hides_runs(runs: list[RunFolder], runs_dir: Path) -> None:
    async with opened(runs, runs_dir) as (app, screen, pilot):
        await pilot.click(compare.CompareChart, offset=(60, 6))
        await until(app, pilot, lambda: screen.view.cursor is not None and 300 < screen.view.cursor < 500)
        await shows(app, pilot, "at 3")
        await pilot.click(compare.CompareRuns, offset=(10, 3))
        await until(app, pilot, lambda: screen.view.hidden == {1})


async def test_a_click_on_what_the_frames_name_is_its_key(runs: list[RunFolder], runs_dir: Path) -> None:
    async with opened(runs, runs_dir) as (app, screen, pilot):
        for shown, then in (("y lin", "y log"), ("x step", "x epoch"), ("show all", "only what differs")):
            line, column = next(
                (y, text.index(shown))
                for y, text in enumerate(text_of(app.screen).splitlines())
                if shown in text
            )
            await pilot.click(offset=(column, line))
            await shows(app, pilot, then)
        assert screen.view.cursor is None
        await pilot.click(offset=(text_of(app.screen).splitlines()[0].index("val/loss"), 0))
        await shows(app, pilot, "words to filter by")


async def test_a_live_run_is_read_again(
    runs: list[RunFolder], runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "REFRESH_SECONDS", 0.02)
    monkeypatch.setattr(compare, "REST", 0.0)
    live = add_compared_run(runs_dir, "live", SETTINGS.format(3, 0.3), 2, status="running")
    async with opened([runs[0], live], runs_dir) as (app, screen, pilot):
        await shows(app, pilot, "running")
        before = screen.view.comparison.runs[1].final("val/loss")
        add_history(live, 6)
        await until(app, pilot, lambda: screen.view.comparison.runs[1].final("val/loss") != before)


@pytest.mark.parametrize("key", ["escape", "q", "ctrl+c"])
async def test_every_way_out_leads_to_the_menu(runs: list[RunFolder], runs_dir: Path, key: str) -> None:
    async with opened(runs[:2], runs_dir) as (app, _, pilot):
        await pilot.press(key)
        await until(app, pilot, lambda: isinstance(app.screen, MenuScreen))
        await shows(app, pilot, "presets", "base-2")
