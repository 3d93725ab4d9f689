"""The text of the run screen in its main states. UPDATE_GOLDENS=1 accepts the text that it shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs, epochs_without_improvement, logged
from tests.support.watching import Console, check_golden, watching
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.messages import Snapshot
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


async def pausing(console: Console) -> None:
    """A pause was accepted, and waits for the end of the step."""
    await running(console)
    console.run.emit(ev.PauseRequested(time=NOON))


async def evaluating(console: Console) -> None:
    """An evaluation has lasted twelve seconds."""
    await running(console)
    console.run.emit(ev.PhaseChanged(phase="evaluating", done=40, total=100, unit="batches", time=NOON))


async def stopping(console: Console) -> None:
    """A stop was accepted, and waits for the end of the step."""
    await running(console)
    console.run.emit(ev.StopRequested(reason="asked to stop by me@pts/1", time=NOON))


async def suspended(console: Console) -> None:
    """The worker does not continue until somebody lets it."""
    console.run.read_only = "suspended (SIGSTOP): continue it with `kill -CONT 4711`"
    await running(console)
    console.run.emit(console.run.snapshot)
    await running(console)


async def disconnected(console: Console) -> None:
    """The connection is lost, and the run may still be running."""
    await running(console)
    console.run.hang_up(RunError("the worker does not answer for 30 s; it may be busy"))


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


async def stopped(console: Console) -> None:
    """Somebody has stopped the run, and it has saved a checkpoint."""
    await running(console)
    saved = ev.CheckpointSaved(step=470, epoch=21, name="step-00000470", reason="stop", time=NOON)
    end = ev.RunFinished(status="stopped", reason="asked to stop by me@pts/1", step=470, epoch=21, time=NOON)
    console.run.emit(saved, end)
    console.run.hang_up()


async def failed(console: Console) -> None:
    """The run has failed with a remedy that is too long for one line."""
    await running(console)
    reason = (
        "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a capacity of 139 GiB of "
        "which 1.2 GiB is free; lower data.batch_size, or use training.precision = 'bf16-mixed'"
    )
    console.run.emit(ev.RunFailed(reason=reason, time=NOON))
    console.run.hang_up()


async def interrupted(console: Console) -> None:
    """The machine was rebooted: the console reads the run's files."""
    console.run.emit(*BEGINNING, *epochs(1, 20))
    await console.settle()
    state = console.app.run_screen.state.run.model_copy(
        update={"status": "interrupted", "reason": "the machine was rebooted"}
    )
    console.run.snapshot = Snapshot(state=state, history=console.run.snapshot.history)
    console.run.live = False
    console.run.hang_up()
    await console.settle()
    await console.press("a")


STATES = (
    starting, running, evaluating, pausing, paused, stopping, suspended, disconnected,
    diverged, finished, stopped, failed, lost, interrupted,
)  # fmt: skip


SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))


@pytest.mark.parametrize("script", STATES)
async def test_the_run_screen_matches_its_golden_files(script: Script) -> None:
    async with watching(ScriptedRun(), size=SIZES[0]) as console:
        await script(console)
        for width, height in SIZES:
            await console.pilot.resize_terminal(width, height)
            await console.settle()
            check_golden(f"{script.__name__}-{width}x{height}", console.text)
