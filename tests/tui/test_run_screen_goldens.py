"""The text of the run screen in its main states. UPDATE_GOLDENS=1 accepts the text that it shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs, epochs_without_improvement, logged
from tests.support.watching import Console, check_golden, watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import Points

Script = Callable[[Console], Awaitable[None]]


async def starting(console: Console) -> None:
    """The model is not built yet."""
    console.run.emit(ev.PhaseChanged(phase="loading data", time=NOON))


async def running(console: Console) -> None:
    """The run is in its 21st epoch, and its last evaluation was no improvement."""
    console.run.emit(*BEGINNING, *epochs(1, 19), *epochs_without_improvement(20, 20), logged(461, 470))


async def paused(console: Console) -> None:
    """The run is paused, and an lr change is pending."""
    await running(console)
    console.run.emit(ev.RunPaused(step=470, time=NOON))
    await console.settle()
    await console.pilot.press("plus")


async def diverged(console: Console) -> None:
    """The loss is NaN since step 465."""
    await running(console)
    series = {"train/loss": Points.of([471, 472], [float("nan")] * 2)}
    console.run.emit(ev.MetricsLogged(step=472, epoch=21, active_seconds=9.5, series=series))


async def finished(console: Console) -> None:
    """Early stopping has ended the run."""
    console.run.emit(*BEGINNING, *epochs(1, 7), *epochs_without_improvement(8, 14))
    reason = "early stopping: val/loss has not improved for 7 evaluations"
    console.run.emit(ev.RunFinished(status="finished", reason=reason, step=322, epoch=14, time=NOON))
    console.run.hang_up()


async def lost(console: Console) -> None:
    """The worker was killed."""
    await running(console)
    console.run.emit(ev.RunLost(reason="worker 4711 was killed by SIGKILL", time=NOON))
    console.run.hang_up()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("script", [starting, running, paused, diverged, finished, lost])
async def test_the_run_screen_matches_its_golden_file(script: Script, size: tuple[int, int]) -> None:
    async with watching(ScriptedRun(), size=size) as console:
        await script(console)
        await console.settle()
        check_golden(f"{script.__name__}-{size[0]}x{size[1]}", console.text)
