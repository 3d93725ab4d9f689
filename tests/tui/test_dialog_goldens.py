"""The text of the chart mode and of all dialogs. UPDATE_GOLDENS=1 accepts the text that they show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs, epochs_without_improvement
from tests.support.watching import Console, check_golden, watching
from torchconsole.tui.screens.dialogs import DeleteScreen

Script = Callable[[Console], Awaitable[None]]

SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))


async def chart_mode(console: Console) -> None:
    """The whole run, with the cursor on its best evaluation."""
    await console.press("c", "end")


async def chart_mode_zoomed(console: Console) -> None:
    """A window that follows the newest steps, on a linear axis and without smoothing."""
    await console.press("c", "f", "y", "w", "w")


async def chart_mode_accuracy(console: Console) -> None:
    """Another chart is the large one, on a logarithmic axis."""
    await console.press("c", "down", "y")


async def choosing_metrics(console: Console) -> None:
    """The list of curves, with a filter."""
    await console.press("m", "l")


async def typing_lr(console: Console) -> None:
    """A new lr with its preview."""
    await console.press("l", *"x0.5")


async def asking_about_lr(console: Console) -> None:
    """A change by more than ten times asks first."""
    await console.press("l", *"0.5", "enter")


async def asking_to_stop(console: Console) -> None:
    """Stopping asks first."""
    await console.press("x")


async def help_of_a_run(console: Console) -> None:
    """The keys of the run screen."""
    await console.press("question_mark")


async def searching_the_log(console: Console) -> None:
    """The line that searches a pane."""
    await console.press("2", "slash", *"level:w")


SCRIPTS = (
    chart_mode, chart_mode_zoomed, chart_mode_accuracy, choosing_metrics, typing_lr, asking_about_lr,
    asking_to_stop, help_of_a_run, searching_the_log,
)  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
async def test_it_matches_its_golden_files(script: Script) -> None:
    run = ScriptedRun(*BEGINNING, *epochs(1, 19), *epochs_without_improvement(20, 22))
    async with watching(run, size=SIZES[1]) as console:
        await script(console)
        for width, height in SIZES:
            await console.pilot.resize_terminal(width, height)
            await console.settle()
            check_golden(f"{script.__name__.replace('_', '-')}-{width}x{height}", console.text)


async def test_every_unit_of_the_x_axis_matches_its_golden_files(tmp_path: Path) -> None:
    """Ten steps a second, so that the ticks are seconds apart."""
    lines = [
        f'{{"seq":{step},"step":{step},"epoch":1,"time":{NOON + step / 10},"kind":"train",'
        f'"active_seconds":{step / 10},"train/loss":1.0}}\n'
        for step in range(1, 507)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    run = ScriptedRun(*BEGINNING, *epochs(1, 22))
    run.snapshot.state.folder = str(tmp_path)
    async with watching(run, size=(120, 40)) as console:
        await console.press("c", "end", "shift+left", "right_square_bracket")
        for unit in ("epoch", "minutes", "clock", "step"):
            await console.press("t")
            await console.shows(f"x {unit}")
            check_golden(f"chart-mode-{unit}-120x40", console.text)


@pytest.mark.parametrize("size", SIZES)
async def test_a_question_of_any_length_leaves_room_for_its_answers(size: tuple[int, int]) -> None:
    async with watching(ScriptedRun(*BEGINNING), size=size) as console:
        console.app.push_screen(DeleteScreen("a-run-with-a-long-name-" * 3, "/a/long/path/of/a/run" * 40))
        await console.shows(
            "Delete a-run-with", "y  delete the run", "esc  cancel", "arrows and enter choose"
        )
