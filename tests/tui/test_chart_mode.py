"""The chart mode: each of its keys, the mouse, and that steering keys keep their meaning."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from textual.events import MouseDown, MouseMove, MouseScrollDown, MouseScrollUp, MouseUp

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs
from tests.support.watching import Console, watching
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.buckets import Rows
from torchconsole.engine.protocol.points import Points
from torchconsole.tui.charts.view import ChartView
from torchconsole.tui.widgets import charts as charts_module
from torchconsole.tui.widgets.charts import Charts


def view_of(console: Console) -> ChartView:
    """Return the window and the cursor."""
    return charts_of(console)._view


def charts_of(console: Console) -> Charts:
    """Return the charts."""
    return console.app.run_screen.charts


@asynccontextmanager
async def chart_mode(size: tuple[int, int] = (120, 40), upto: int = 40) -> AsyncIterator[Console]:
    """Open the chart mode of a run in epoch `upto` of 60, 23 steps each."""
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, upto)), size=size) as console:
        await console.press("c")
        yield console


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 60)])
async def test_c_opens_and_closes_it(size: tuple[int, int]) -> None:
    async with chart_mode(size) as console:
        assert charts_of(console).is_mode
        assert console.app.run_screen.query_one("KeyBar").is_on_screen
        await console.press("c")
        assert not charts_of(console).is_mode


async def test_escape_closes_it_and_forgets_the_cursor() -> None:
    async with chart_mode() as console:
        await console.press("left", "right_square_bracket", "escape")
        assert not charts_of(console).is_mode
        await console.press("c")
        assert view_of(console) == ChartView()


async def test_arrows_move_a_cursor_that_reads_the_values_of_all_charts() -> None:
    async with chart_mode() as console:
        await console.press("left")
        assert view_of(console).cursor == 920
        await console.shows("step 920", "curves at the cursor", "val 0.3607 @ 920")
        await console.press("shift+left")
        moved = view_of(console).cursor
        assert moved is not None
        assert 700 < moved < 850
        await console.press("right")
        further = view_of(console).cursor
        assert further is not None
        assert moved < further < moved + 40
        await console.press("home")
        assert view_of(console).cursor == 0
        await console.press("shift+right", "end")
        assert view_of(console).cursor == 920


async def test_the_cursor_shows_the_text_of_marks() -> None:
    async with chart_mode() as console:
        await console.press("end")
        await console.shows("best val/loss", "checkpoint saved")


async def test_brackets_zoom_and_comma_and_dot_pan() -> None:
    async with chart_mode() as console:
        await console.press("right_square_bracket")
        window = view_of(console).window
        assert window is not None
        assert window[1] - window[0] == 690
        await console.press("right_square_bracket", "comma", "comma")
        earlier = view_of(console).window
        assert earlier is not None
        await console.press("full_stop")
        later = view_of(console).window
        assert later is not None
        assert later[0] > earlier[0]
        assert later[1] - later[0] == earlier[1] - earlier[0] == 345
        await console.press("left_square_bracket", "left_square_bracket")
        assert view_of(console).window is None


async def test_0_shows_all_and_f_follows() -> None:
    async with chart_mode() as console:
        await console.press("f")
        assert view_of(console).is_following
        await console.shows("▸ follow")
        first = view_of(console).steps(charts_of(console)._axis(), 920)
        console.run.emit(*epochs(41, 55))
        await console.settle()
        await console.shows("55/60")
        assert view_of(console).steps(charts_of(console)._axis(), 55 * 23) > first
        await console.press("0")
        assert view_of(console).window is None
        assert not view_of(console).is_following


@pytest.mark.parametrize("opened", [True, False])
async def test_y_w_and_t_are_remembered_and_work_outside_of_it(opened: bool) -> None:
    async with chart_mode() as console:
        if not opened:
            await console.press("escape")
        config = console.app.config
        assert (config.log_axis, config.x_axis) == (True, "step")
        await console.press("y")
        assert not config.log_axis
        await console.shows("y lin")
        seen = []
        for _ in range(3):
            await console.press("w")
            seen.append(config.smoothing)
        assert sorted(seen) == [0.0, 0.9, 0.99]
        units = []
        for _ in range(4):
            await console.press("t")
            units.append(config.x_axis)
            await console.shows(f"x {config.x_axis}")
        assert units == ["epoch", "minutes", "clock", "step"]


async def test_up_and_down_choose_the_large_chart() -> None:
    async with chart_mode() as console:
        await console.shows("─ loss")
        await console.press("down")
        await console.shows("─ accuracy")
        await console.press("up", "up")
        await console.shows("─ lr")
        await console.press("y")
        await console.shows("y log")
        assert console.app.config.log_axis, "the axis of losses is another one"


async def test_m_chooses_metrics_by_a_filter_and_space() -> None:
    async with chart_mode() as console:
        await console.press("m")
        await console.shows("metrics", "samples_per_sec", "space select · enter show · esc")
        await console.press(*"sam", "space", "enter")
        assert "samples_per_sec" in console.app.config.metrics
        await console.shows("samples per sec")
        await console.press("m", *"loss", "space", "down", "space", "enter")
        assert not {"train/loss", "val/loss"} & set(console.app.config.metrics)
        await console.press("m", "space", "escape")
        assert "samples_per_sec" in console.app.config.metrics
        assert console.run.commands == [], "space is no pause there"


async def test_steering_keys_keep_their_meaning() -> None:
    async with chart_mode() as console:
        await console.press("space", "minus", "h", "s", "e")
        kinds = [type(command) for command in console.run.commands]
        assert kinds == [
            cmd.PauseRun,
            cmd.SetLearningRate,
            cmd.HoldLearningRate,
            cmd.SaveCheckpoint,
            cmd.RunEvaluation,
        ]
        assert charts_of(console).is_mode


async def test_panes_close_it() -> None:
    async with chart_mode() as console:
        await console.press("2")
        assert not charts_of(console).is_mode
        await console.press("left", "right_square_bracket")
        assert view_of(console) == ChartView()
        await console.press("c")
        assert charts_of(console).is_mode


def mouse(event: type, charts: Charts, x: int, **more: object) -> object:
    """Return a mouse event at a column of the charts."""
    given = {"delta_x": 0, "delta_y": 0, "button": 1, "shift": False, "meta": False, "ctrl": False, **more}
    return event(charts, x=x, y=5, **given)


async def test_the_mouse_sets_the_cursor_zooms_and_pans() -> None:
    async with chart_mode() as console:
        charts = charts_of(console)
        await console.pilot.click(Charts, offset=(70, 8))
        await console.settle()
        cursor = view_of(console).cursor
        assert cursor is not None
        assert cursor == pytest.approx(charts._step_at(70), abs=1)
        charts.on_mouse_scroll_up(mouse(MouseScrollUp, charts, 70))  # type: ignore[arg-type]
        window = view_of(console).window
        assert window is not None
        assert charts._step_at(70) == pytest.approx(cursor, abs=25), "it zooms at the pointer"
        charts.on_mouse_down(mouse(MouseDown, charts, 70))  # type: ignore[arg-type]
        charts.on_mouse_move(mouse(MouseMove, charts, 80))  # type: ignore[arg-type]
        charts.on_mouse_up()
        dragged = view_of(console).window
        assert dragged is not None
        assert dragged[0] < window[0]
        charts.on_mouse_scroll_down(mouse(MouseScrollDown, charts, 70))  # type: ignore[arg-type]
        assert view_of(console).window is None
        assert MouseUp is not None


async def test_a_click_on_a_toggle_in_the_frame_is_its_key_and_leaves_the_cursor() -> None:
    async with chart_mode() as console:
        for shown, then in (("y log", "y lin"), ("smooth .9", "smooth .99"), ("x step", "x epoch")):
            column = console.text.splitlines()[2].index(shown)
            await console.pilot.click(Charts, offset=(column, 0))
            await console.shows(then)
        assert view_of(console).cursor is None
        await console.press("c")
        await console.pilot.click(Charts, offset=(console.text.splitlines()[2].index("lin"), 0))
        await console.shows("y log")


async def test_a_click_in_the_list_shows_a_curve_makes_it_large_or_hides_it() -> None:
    async with chart_mode() as console:

        def row_of(name: str) -> int:
            return next(y for y, line in enumerate(console.text.splitlines()) if name in line[:30]) - 2

        await console.pilot.click(Charts, offset=(10, row_of("val/accuracy")))
        await console.until(lambda: "accuracy" in console.text.splitlines()[2][30:])
        assert "■ val/accuracy" in console.text
        hidden = row_of("samples_per_sec")
        await console.pilot.click(Charts, offset=(10, hidden))
        await console.shows("■ samples_per_sec")
        await console.until(lambda: "samples per sec" in console.text.splitlines()[2])
        await console.pilot.click(Charts, offset=(2, hidden))
        await console.shows("○ samples_per_sec")
        assert console.app.config.metrics == [], "the usual ones are shown again"
        assert view_of(console).cursor is None


async def test_dragging_leaves_the_cursor_where_it_is() -> None:
    async with chart_mode() as console:
        await console.press("right_square_bracket", "right_square_bracket")
        window = view_of(console).window
        await console.pilot.mouse_down(Charts, offset=(70, 8))
        await console.pilot.hover(Charts, offset=(80, 8))
        await console.pilot.mouse_up(Charts, offset=(80, 8))
        await console.settle()
        assert view_of(console).window != window
        assert view_of(console).cursor is None


async def test_the_window_on_the_whole_run_follows_the_pointer() -> None:
    async with chart_mode() as console:
        lines = console.text.splitlines()
        below = next(y for y, line in enumerate(lines) if " all " in line[30:42])
        await console.press("right_square_bracket", "right_square_bracket")
        await console.pilot.mouse_down(offset=(60, below))
        first = view_of(console).window
        assert first is not None
        assert first[0] < 400 < first[1]
        await console.pilot.hover(offset=(90, below))
        await console.pilot.mouse_up(offset=(90, below))
        await console.settle()
        second = view_of(console).window
        assert second is not None
        assert second[0] > first[0] + 200
        assert second[1] - second[0] == pytest.approx(first[1] - first[0])
        assert view_of(console).cursor is None


async def test_a_window_is_read_once_the_keys_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[float] = []

    def read_window(path: Path, first: float, last: float) -> dict[str, Rows]:
        read.append(last - first)
        return {}

    monkeypatch.setattr(charts_module, "read_window", read_window)
    monkeypatch.setattr(Charts, "_needs_detail", lambda self, window: True)
    async with chart_mode() as console:
        await console.press(*["right_square_bracket"] * 3)
        await console.until(lambda: bool(read))
        await console.settle()
        assert len(read) == 1


async def test_what_was_read_of_a_window_is_void_once_the_run_is_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = Rows.single(np.arange(1, 900), np.full(899, 77.0))
    monkeypatch.setattr(charts_module, "read_window", lambda *_: {"train/loss": old})
    monkeypatch.setattr(Charts, "_needs_detail", lambda self, window: True)
    async with chart_mode() as console:
        await console.press("right_square_bracket")
        await console.until(lambda: charts_of(console)._settings().detail)
        state = console.app.run_screen.state
        state.attach(ScriptedRun(*BEGINNING, *epochs(1, 2)).snapshot, live=True)
        assert not charts_of(console)._settings().detail


async def test_a_double_click_opens_it() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 4)), size=(120, 40)) as console:
        await console.pilot.click(Charts, offset=(30, 8), times=2)
        await console.until(lambda: charts_of(console).is_mode)


async def test_an_empty_run_has_a_chart_mode_too() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(120, 40)) as console:
        await console.press("c", "left", "right_square_bracket", "f", "m", "up", "y", "t", "t", "0", "escape")
        assert console.run.commands == []


@pytest.mark.parametrize("width", [40, 60, 80, 120])
async def test_its_key_line_always_says_how_to_leave(width: int) -> None:
    async with chart_mode((width, 24)) as console:
        line = console.text.splitlines()[-1]
        assert "c back" in line
        assert "q leave" in line
        assert "? help" in line
        assert ("[] zoom" in line) == (width >= 80)


async def test_zooming_in_reads_every_value_from_the_file(tmp_path: Path) -> None:
    """The history of a long run has buckets; the file has all of its steps, and when they were logged."""
    steps = list(range(1, 20_001))
    lines = [
        f'{{"seq":{step},"step":{step},"epoch":1,"time":{NOON + step},"kind":"train",'
        f'"active_seconds":{step},"train/loss":{step / 1e4}}}\n'
        for step in steps
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    started = ev.RunStarted(steps_per_epoch=1000, total_epochs=20, total_steps=20_000)
    series = {"train/loss": Points.of(steps, [step / 1e4 for step in steps])}
    event = ev.MetricsLogged(step=20_000, epoch=20, active_seconds=20_000, series=series)
    async with watching(ScriptedRun(started, event), size=(120, 40)) as console:
        console.app.run_screen.state.run.folder = str(tmp_path)
        charts = charts_of(console)
        await console.press("c", "end", *["shift+left"] * 3, *["right_square_bracket"] * 6)
        await console.until(lambda: charts._detail)
        first, last = view_of(console).steps(charts._axis(), 20_000)
        rows = charts._scene().panels[0].curves[0].rows
        seen = rows.take((rows.steps >= first) & (rows.steps <= last))
        assert (seen.counts == 1).all()
        assert len(seen.steps) >= last - first
        await console.press("t", "t")
        await console.shows("x minutes")
        axis = charts._axis()
        assert axis.steps() == pytest.approx((first, last), abs=1)
        assert axis.end - axis.start == pytest.approx((last - first) / 60, rel=0.01)
