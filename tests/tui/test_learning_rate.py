"""The learning rate in the console: hold and release, the planned curve, and the preview of a change."""

from __future__ import annotations

import pytest

from tests.support.scripted import BEGINNING, STEPS_PER_EPOCH, ScriptedRun, epochs, running
from tests.support.watching import Console, watching
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import Points

LAST = 60 * STEPS_PER_EPOCH


def constant_run(lr: float = 0.01, metric: str | None = None) -> ScriptedRun:
    """Return a run in its fifth epoch whose schedule is constant."""
    scheduled = Points.of([93, LAST], [lr, lr])
    run = ScriptedRun(*BEGINNING, *epochs(1, 4), ev.SchedulePlanned(scheduled=scheduled, metric=metric))
    run.snapshot.state.metrics["lr"] = lr
    return run


async def hold(console: Console, value: float) -> None:
    """Press `h`, and answer as a run that holds its lr at `value`."""
    await console.press("h")
    console.run.answer(92, f"lr 0.01 -> {value:g}, held", {"lr": value, "scale": 1.0, "held": value})


async def test_h_holds_the_lr_and_releases_it() -> None:
    async with watching(running(), size=(120, 40)) as console:
        await hold(console, 0.01)
        await console.shows("lr 0.01 held", "lr 0.01 -> 0.01, held · applied at step 92")
        await console.press("h")
        console.run.answer(93, "lr 0.01 -> 0.02, released", {"lr": 0.02, "scale": 2.0, "held": None})
        await console.shows("-> 0.02, released · applied at step 93")
        assert "lr 0.02 held" not in console.text
        assert console.run.commands == [cmd.HoldLearningRate(), cmd.ReleaseLearningRate()]


async def test_a_second_h_revokes_a_pending_hold() -> None:
    async with watching(running(), size=(120, 40)) as console:
        await console.press("h", "h")
        assert console.run.commands == [cmd.HoldLearningRate(), cmd.ReleaseLearningRate()]


async def test_a_pending_factor_is_applied_to_the_held_lr() -> None:
    async with watching(constant_run(), size=(120, 40)) as console:
        await hold(console, 0.05)
        await console.press("plus")
        await console.shows("lr 0.05 held → 0.089 pending")


async def test_hold_and_release_are_shown_as_pending_until_they_are_applied() -> None:
    async with watching(constant_run(), size=(120, 40)) as console:
        await console.press("l", *"hold 0.03", "enter")
        await console.shows("lr 0.01 → 0.03 pending", "hold 0.03 requested")
        await console.press("h")
        await console.shows("lr 0.01 → 0.01 pending")


async def test_the_chart_shows_the_lr_at_the_end_of_the_run() -> None:
    async with watching(constant_run(), size=(120, 40)) as console:
        await console.shows("lr 0.01  ┄ to 0.01 at 1,380")
        await hold(console, 0.2)
        await console.shows("lr 0.2 held  ┄ to 0.2 at 1,380")


async def test_the_chart_names_the_metric_that_the_schedule_depends_on() -> None:
    async with watching(constant_run(metric="val/loss"), size=(120, 40)) as console:
        await console.shows("┄ depends on val/loss, at most 0.01")


async def test_an_ended_run_has_no_planned_lr() -> None:
    async with watching(constant_run(), size=(120, 40)) as console:
        await console.shows("┄ to")
        console.run.emit(ev.RunFinished(status="finished", reason="early stopping", step=92, epoch=4))
        await console.shows("finished at step 92: early stopping")
        await console.settle()
        assert "┄ to" not in console.text


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("x0.5", "→ 0.005  ┄ to 0.005 at 1,380"),
        ("0.03", "→ 0.03  ┄ to 0.03 at 1,380"),
        ("hold 0.02", "→ 0.02  ┄ to 0.02 at 1,380"),
    ],
)
async def test_a_change_is_previewed_while_it_is_typed(typed: str, shown: str) -> None:
    async with watching(constant_run(), size=(120, 40)) as console:
        await console.press("l")
        await console.shows("Learning rate (now 0.01)", "lr 0.01  ┄ to 0.01 at 1,380")
        await console.press(*typed)
        await console.shows(shown)
        await console.press("escape")
        assert not console.run.commands


async def test_the_preview_of_a_release_returns_to_the_schedule() -> None:
    async with watching(constant_run(), size=(120, 40)) as console:
        await hold(console, 0.2)
        await console.press("l")
        await console.shows("Learning rate (now 0.2, held)")
        await console.press(*"release")
        await console.shows("→ 0.01  ┄ to 0.01 at 1,380")


async def test_the_dialog_rejects_what_the_engine_would_reject() -> None:
    run = constant_run()
    run.snapshot.state.metrics["lr"] = 1e-18
    run.snapshot.state.schedule = ev.SchedulePlanned(
        scheduled=Points.of([93, LAST], [1e-18, 1e-18]), base=0.01
    )
    async with watching(run, size=(120, 40)) as console:
        await console.press("l", *"0.01")
        await console.shows("the scheduled lr is 0, so scaling cannot reach 0.01; use `hold 0.01`")
        await console.press("enter")
        assert not console.run.commands
        await console.press("home", *"hold ", "enter")
        await console.shows("Change the lr from 1e-18 to 0.01?")
        await console.press("y")
        assert console.run.commands == [cmd.HoldLearningRate(value=0.01)]


async def test_a_short_terminal_shows_the_lr_dialog_without_the_preview() -> None:
    async with watching(constant_run(), size=(80, 20)) as console:
        await console.press("l", *"x2")
        await console.shows("enter sets it")
        assert "┄ to 0.02" not in console.text
        await console.press("enter")
        assert console.run.commands == [cmd.SetLearningRate(factor=2.0)]
