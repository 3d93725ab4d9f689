"""How the run screen uses the space it has, and how little of it is drawn again."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epoch_ended, epochs, logged, running
from tests.support.watching import watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import EarlyStoppingInfo
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.series import CAPACITY
from torchconsole.tui.screens.run_plan import Contents, plan
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.early_stopping import EarlyStoppingPanel
from torchconsole.tui.widgets.lines import LineWidget

FINISHED = ev.RunFinished(status="finished", reason="all 60 epochs done", step=1380, epoch=60, time=NOON)


async def test_every_size_is_drawn_and_resizing_back_restores_the_screen() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 5))) as console:
        before = console.text
        for size in (Size(120, 40), Size(200, 60), Size(20, 5), Size(1, 1), Size(110, 20), Size(60, 50)):
            await console.pilot.resize_terminal(*size)
            await console.settle()
            assert len(console.text.splitlines()) == size.height
        await console.pilot.resize_terminal(80, 24)
        await console.settle()
        assert console.text == before


@pytest.mark.parametrize("size", [(39, 24), (80, 5), (12, 6)])
async def test_a_terminal_that_is_too_small_shows_one_line(size: tuple[int, int]) -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2)), size=size) as console:
        first, *others = console.text.splitlines()
        assert first.startswith("● running")
        assert not "".join(others).strip()


@pytest.mark.parametrize("height", range(6, 31))
@pytest.mark.parametrize("width", [40, 59, 60, 80, 99, 100, 120])
def test_header_charts_and_keys_are_shown_in_every_size(width: int, height: int) -> None:
    rooms = plan(width, height, Contents())
    assert {"header", "charts", "keys"} <= set(rooms)
    taken = [row for room in rooms.values() if room.x == 0 for row in range(room.y, room.bottom)]
    assert sorted(taken) == list(range(height))


@pytest.mark.parametrize("pane", ["charts", "log", "device"])
@pytest.mark.parametrize("enlarged", [False, True])
@pytest.mark.parametrize("size", [(100, 30), (120, 40), (160, 50), (200, 60), (300, 100), (199, 51)])
def test_the_rooms_fill_the_screen_without_overlap(size: tuple[int, int], pane: str, enlarged: bool) -> None:
    for contents in (
        Contents(pane, enlarged),
        Contents(pane, enlarged, banner_rows=3, has_stopping=False, has_failed=True),
        Contents(pane, enlarged, device_rows=20),
    ):
        rooms = plan(*size, contents)
        assert sum(room.area for room in rooms.values()) == size[0] * size[1]
        assert all(not one.overlaps(other) for one, other in itertools.combinations(rooms.values(), 2))


def test_the_values_of_early_stopping_fit_in_their_panel() -> None:
    run = ScriptedRun(*BEGINNING, *epochs(1, 50))
    state = ConsoleState(run.snapshot.state)
    state.attach(run.snapshot, live=True)
    lines = ["".join(text for text, _ in line) for line in EarlyStoppingPanel(state).draw(38, 5)]
    assert "★ 0.4641 @ 1,150  beat 0.4631" in lines[2]
    assert "stops at 1,311 if none is better" in lines[3]


@pytest.mark.parametrize("minutes", [0.1, 12, 600, 60000])
async def test_speed_and_times_both_fit_in_80_columns(minutes: float) -> None:
    run = ScriptedRun(
        *BEGINNING, *epochs(1, 4), logged(93, 93).model_copy(update={"active_seconds": 60 * minutes})
    )
    async with watching(run) as console:
        await console.shows("digit", "● running", "3,200/s", "ETA", " 6%")


async def test_a_patience_of_millions_is_drawn_without_dots_and_without_building_them() -> None:
    patience = EarlyStoppingInfo(
        monitor="val/loss", mode="min", patience=10_000_000, min_delta=0, counter=9, best=0.1, best_step=1
    )
    run = ScriptedRun(*BEGINNING, ev.EarlyStoppingUpdated(step=1, early_stopping=patience))
    tracemalloc.start()
    lines = EarlyStoppingPanel(ConsoleState(run.snapshot.state)).draw(47, 5)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "".join(text for text, _ in lines[1]).startswith("│ 9 of 10,000,000 ━")
    assert peak_bytes < 1_000_000


@contextmanager
def recorded_rendering() -> Iterator[list[str]]:
    """Record the type of each widget of which something is rendered."""
    rendered: list[str] = []
    all_lines, one_line = Widget.render_lines, LineWidget.render_line

    def render_lines(widget: Widget, crop: Region) -> list[Strip]:
        rendered.append(type(widget).__name__)
        return all_lines(widget, crop)

    def render_line(widget: LineWidget, y: int) -> Strip:
        rendered.append(type(widget).__name__)
        return one_line(widget, y)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Widget, "render_lines", render_lines)
        patch.setattr(LineWidget, "render_line", render_line)
        yield rendered


async def test_only_what_changed_is_rendered() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 4)), size=(120, 40)) as console:
        with recorded_rendering() as rendered:
            console.run.emit(logged(93, 100))
            await console.settle()
        assert {"HeaderLine", "Charts"} <= set(rendered)
        assert not {"RunScreen", "ModelPane", "LogPane", "KeyBar"} & set(rendered)


async def test_events_that_change_nothing_render_nothing() -> None:
    """On a busy machine earlier changes may be rendered late, but not after each of 20 events."""
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        for _ in range(20):
            with recorded_rendering() as rendered:
                console.run.emit(ev.PhaseChanged(phase="training", time=NOON))
                await console.settle()
            if not rendered:
                return
        pytest.fail(f"each event rendered something, the last one {rendered}")


async def test_all_parts_of_a_local_screen_are_drawn_together() -> None:
    """So that no two of them show different values of one metric."""
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 4)), size=(120, 40)) as console:
        drawn: list[set[str]] = []
        screen = console.app.run_screen
        redraw = screen._redraw

        def recorded(parts: Sequence[str]) -> list[Widget]:
            drawn.append(set(parts))
            return redraw(parts)

        screen._redraw = recorded  # type: ignore[method-assign]
        console.run.emit(logged(93, 100), *epoch_ended(5))
        await console.settle()
        assert any({"header", "charts", "metrics-panel", "stopping-panel"} <= parts for parts in drawn)


async def test_a_resize_while_a_long_series_is_thinned_draws_it() -> None:
    """A long series is thinned in place once it is full."""

    def evaluated(first: int, last: int) -> ev.MetricsLogged:
        steps = range(first, last)
        losses = Points.of(steps, (1 / step for step in steps))
        return ev.MetricsLogged(step=last, epoch=1, active_seconds=1, series={"val/loss": losses})

    full = CAPACITY
    async with watching(ScriptedRun(*BEGINNING), size=(120, 40)) as console:
        console.run.emit(evaluated(1, full))
        await console.shows("val 0.000195")
        console.app.run_screen.state.receive(evaluated(full, full + 3000))
        await console.pilot.resize_terminal(100, 30)
        await console.shows("val 0.000123")


async def test_events_that_arrive_while_the_screen_is_removed_are_ignored() -> None:
    async with watching(running()) as console:
        removal = console.app.pop_screen()
        for step in range(93, 100):
            console.run.emit(logged(step, step))
            await console.pilot.pause()
        await removal
