"""A live run that goes back to a checkpoint is drawn from there on."""

from __future__ import annotations

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs
from tests.support.watching import watching
from torchconsole.engine.protocol import events as ev


async def test_what_the_run_went_back_to_is_marked() -> None:
    back = ev.RunResumed(step=23, epoch=1, checkpoint="step-00000023", rolled_back_from=69, time=NOON)
    run = ScriptedRun(*BEGINNING, *epochs(1, 3))
    async with watching(run, size=(120, 40)) as console:
        await console.until(lambda: console.app.run_screen.state.run.step == 69)
        run.emit(back)
        await console.press("2")
        await console.shows("rolled back to step-00000023")
        assert console.app.run_screen.state.history["train/loss"].steps[-1] == 23
