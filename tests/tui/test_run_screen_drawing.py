"""How the run screen uses the space it has, and how little of it is drawn again."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs, logged, running
from tests.support.watching import Host, watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import EarlyStoppingInfo
from torchconsole.engine.protocol.points import CAPACITY, Points
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import LineWidget
from torchconsole.tui.widgets.metrics_panels import EarlyStoppingPanel

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


@pytest.mark.parametrize("size", [(39, 24), (80, 9), (12, 6)])
async def test_a_terminal_that_is_too_small_shows_only_the_size_it_needs(size: tuple[int, int]) -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2), FINISHED, live=False), size=size) as console:
        words = " ".join(console.text.split())
        assert words == f"terminal too small ({size[0]}x{size[1]}), 40x10 needed"


async def test_an_ended_run_shows_no_percentage_of_its_last_epoch() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2), FINISHED, live=False)) as console:
        epoch, step = console.text.splitlines()[1].split("step")
        assert "━" in epoch
        assert "%" not in epoch
        assert "100%" in step


@pytest.mark.parametrize(
    ("width", "last", "best"),
    [
        (120, 50, "best 0.4641 at step 1,150 · to beat 0.4631"),
        (80, 50, "best 0.4641 at step 1,150"),
        (80, 20, "best 0.4213 @ 460 · beat 0.4203"),
    ],
)
async def test_best_and_target_are_abbreviated_if_that_saves_a_line(width: int, last: int, best: str) -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, last)), size=(width, 40)) as console:
        await console.shows(best)


@pytest.mark.parametrize(
    ("minutes", "name", "speed"),
    [
        (0.1, "digits-cnn-20250615-150640 ", "3.2k samples/s"),
        (12, "digits-cnn-20250615-150640 ", "3.2k/s"),
        (600, "digits-cnn-20250615-150640 ", "3.2k/s"),
        (60000, "digits-cnn-2", "3.2k/s"),
    ],
)
async def test_speed_and_times_both_fit_in_80_columns(minutes: float, name: str, speed: str) -> None:
    run = ScriptedRun(
        *BEGINNING, *epochs(1, 4), logged(93, 93).model_copy(update={"active_seconds": 60 * minutes})
    )
    async with watching(run) as console:
        await console.shows(name, "running", speed, "elapsed", "ETA")


async def test_a_patience_of_millions_is_drawn_without_dots_and_without_building_them() -> None:
    patience = EarlyStoppingInfo(
        monitor="val/loss", mode="min", patience=10_000_000, min_delta=0, counter=9, best=0.1, best_step=1
    )
    run = ScriptedRun(*BEGINNING, ev.EarlyStoppingUpdated(step=1, early_stopping=patience))
    tracemalloc.start()
    lines = EarlyStoppingPanel(ConsoleState(run.snapshot.state)).draw(47, 3)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "".join(text for text, _ in lines[0]) == "9 of 10,000,000  val/loss min"
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
        assert {"ProgressLine", "LossChart"} <= set(rendered)
        assert not {"RunScreen", "Charts", "Panes", "LayerTable", "LogView", "KeyBar"} & set(rendered)


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


async def test_the_two_charts_are_drawn_in_alternate_refreshes(monkeypatch: pytest.MonkeyPatch) -> None:
    """All widgets of one refresh are redrawn in one batch."""
    lines = {"StatusLine", "ProgressLine", "NoticeLine", "KeyBar"}
    panels = {"MetricsPanel", "EarlyStoppingPanel", "DevicePanel", "Panes"}
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 4)), size=(120, 40)) as console:
        batches: list[set[str]] = []
        begin_batch = Host.batch_update

        def record_batch(app: Host) -> object:
            batches.append(set())
            return begin_batch(app)

        def record_redraws(widget: type[Widget]) -> None:
            redraw = widget.redraw  # type: ignore[attr-defined]

            def recorded(self: Widget) -> None:
                batches[-1].add(type(self).__name__)
                redraw(self)

            monkeypatch.setattr(widget, "redraw", recorded)

        monkeypatch.setattr(Host, "batch_update", record_batch)
        for name in {"LossChart", "LearningRateChart", *lines, *panels}:
            record_redraws(type(console.app.run_screen.query_one(name)))
        console.run.emit(logged(93, 100))
        await console.settle()
        first, *later = [batch for batch in batches if batch]
        assert {"LossChart", *lines} <= first
        assert later == [{"LearningRateChart", *panels}]


async def test_a_resize_before_new_losses_are_drawn_draws_the_old_ones() -> None:
    """A long series is thinned in place once it is full, which moves the points that a chart has drawn."""

    def evaluated(first: int, last: int) -> ev.MetricsLogged:
        steps = range(first, last)
        losses = Points.of(steps, (1 / step for step in steps))
        return ev.MetricsLogged(step=last, epoch=1, active_seconds=1, series={"val/loss": losses})

    full = 2 * CAPACITY
    async with watching(ScriptedRun(*BEGINNING), size=(120, 40)) as console:
        console.run.emit(evaluated(1, full))
        await console.shows("val 0.000122")
        console.app.run_screen.state.receive(evaluated(full, full + 3000))
        await console.pilot.resize_terminal(100, 30)
        await console.shows("val 0.000122")


async def test_events_that_arrive_while_the_screen_is_removed_are_ignored() -> None:
    async with watching(running()) as console:
        removal = console.app.pop_screen()
        for step in range(93, 100):
            console.run.emit(logged(step, step))
            await console.pilot.pause()
        await removal
