"""The keys of the run screen: the commands they send, and that only the run's reply counts as applied."""

from __future__ import annotations

import pytest

from tests.support.scripted import BEGINNING, NOON, TELEMETRY, ScriptedRun, epochs, logged, running
from tests.support.watching import watching
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.tui.screens.run import RunScreen

FACTOR = 10**0.25


async def test_space_pauses_and_unpauses_once_the_engine_confirms() -> None:
    async with watching(running()) as console:
        await console.press("space")
        assert console.run.commands == [cmd.PauseRun()]
        await console.shows("◐ pausing", "pause requested")
        assert "paused" not in console.text
        console.run.answer(92, "paused")
        console.run.emit(ev.RunPaused(step=92))
        await console.shows("‖ paused", "paused · applied at step 92", "space unpause")

        await console.press("space")
        assert console.run.commands[1:] == [cmd.UnpauseRun()]
        assert "‖ paused" in console.text
        console.run.answer(92, "unpaused")
        console.run.emit(ev.RunUnpaused(step=92))
        await console.shows("● running", "unpaused · applied at step 92")


async def test_the_step_at_which_the_run_stands_is_said_after_some_steps() -> None:
    async with watching(running()) as console:
        await console.press("greater_than_sign")
        assert console.run.commands == [cmd.TrainSteps()]
        console.run.answer(1518, "1 step, then a pause")
        await console.shows("1 step, then a pause · applied at step 1,518")
        console.run.emit(ev.RunPaused(step=1519))
        await console.shows("paused at step 1,519")
        console.run.emit(ev.RunUnpaused(step=1519))
        await console.press("greater_than_sign")
        console.run.answer(1519, "1 step, then a pause")
        console.run.emit(ev.RunPaused(step=1520))
        await console.shows("paused at step 1,520")


async def test_a_second_space_revokes_a_pending_pause() -> None:
    async with watching(running()) as console:
        await console.press("space", "space")
        assert console.run.commands == [cmd.PauseRun(), cmd.UnpauseRun()]


@pytest.mark.parametrize(
    ("key", "factor"), [("minus", 1 / FACTOR), ("plus", FACTOR), ("equals_sign", FACTOR)]
)
async def test_plus_and_minus_scale_the_lr(key: str, factor: float) -> None:
    async with watching(running()) as console:
        await console.press(key)
        [command] = console.run.commands
        assert isinstance(command, cmd.SetLearningRate)
        assert command.factor == pytest.approx(factor)


async def test_an_lr_change_is_shown_as_pending_until_it_is_applied() -> None:
    async with watching(running(), size=(160, 60)) as console:
        await console.press("plus")
        await console.shows("lr 0.01 → 0.018 pending")
        await console.press("plus")
        await console.shows("lr 0.01 → 0.032 pending")
        console.run.answer(93, "lr 0.01 -> 0.01778", {"lr": 0.01778})
        await console.shows("lr 0.01778 → 0.032 pending", "applied at step 93")
        console.run.answer(94, "lr 0.01778 -> 0.03162", {"lr": 0.03162})
        await console.shows("lr 0.03162", "lr 0.01778 -> 0.03162 · applied at step 94")
        assert "pending" not in console.text


@pytest.mark.parametrize(
    ("typed", "command"),
    [("0.02", cmd.SetLearningRate(value=0.02)), ("x0.5", cmd.SetLearningRate(factor=0.5))],
)
async def test_l_accepts_a_value_or_a_factor(typed: str, command: cmd.SetLearningRate) -> None:
    async with watching(running()) as console:
        await console.press("l")
        await console.shows("Learning rate (now 0.01)")
        await console.press(*typed, "enter")
        assert console.run.commands == [command]


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("0", ".", "0", "3", "backspace", "1", "enter"), 0.01),
        (("7", "ctrl+u", *"0.02", "enter"), 0.02),
        ((*"12", "left", "left", "delete", *"0.0", "enter"), 0.02),
    ],
)
async def test_keys_that_arrive_together_are_handled_in_order(keys: tuple[str, ...], value: float) -> None:
    for opened_before in (True, False):
        async with watching(running()) as console:
            if opened_before:
                await console.press("l")
                await console.press_at_once(*keys)
            else:
                await console.press_at_once("l", *keys)
            await console.until(lambda: console.run.commands)
            assert console.run.commands == [cmd.SetLearningRate(value=value)]


async def test_keys_typed_before_a_dialog_opens_go_to_the_dialog() -> None:
    async with watching(running()) as console:
        before = console.text
        await console.press_at_once("l", "x", "1", "3")
        await console.shows("Learning rate (now 0.01)", "x13")
        await console.press("escape")
        assert console.text == before
        await console.press_at_once("q", "d")
        await console.until(lambda: console.app.received)
        assert console.run.commands == []


async def test_the_lr_dialog_explains_an_error_and_stays_open() -> None:
    async with watching(running()) as console:
        await console.press("l", *"fast", "enter")
        await console.shows("'fast' is not a number: type a value such as")
        await console.press("escape")
        assert console.run.commands == []
        assert "Learning rate" not in console.text


async def test_s_saves_a_checkpoint() -> None:
    async with watching(running()) as console:
        await console.press("s")
        assert console.run.commands == [cmd.SaveCheckpoint()]
        await console.shows("save requested")
        assert "step-00000095" not in console.text
        console.run.emit(ev.CheckpointSaved(step=95, epoch=5, name="step-00000095", reason="command"))
        console.run.answer(95, "saved step-00000095")
        await console.shows("saved step-00000095")
        assert "· at step 95" not in console.text


async def test_p_opens_the_device_pane_and_profiles_there() -> None:
    async with watching(running()) as console:
        await console.press("p")
        assert console.run.commands == []
        await console.press("p")
        assert console.run.commands == [cmd.ProfileSteps()]
        console.run.answer(105, "profiled 10 steps; profile.json")
        await console.shows("profiled 10 steps; profile.json · at step 105")


async def test_e_evaluates() -> None:
    async with watching(running()) as console:
        await console.press("e")
        assert console.run.commands == [cmd.RunEvaluation()]
        console.run.emit(ev.PhaseChanged(phase="evaluating", time=NOON))
        await console.shows("◐ evaluating")
        console.app.now += 12
        await console.shows("evaluating  0:24")
        console.run.emit(ev.PhaseChanged(phase="training", time=NOON))
        console.run.answer(96, "val/loss 0.2101")
        await console.shows("val/loss 0.2101 · at step 96")
        assert "evaluating" not in console.text


async def test_x_stops_after_confirmation() -> None:
    async with watching(running()) as console:
        await console.press("x")
        await console.shows(
            "Stop digits-cnn", "y  stop after this step and save", "esc  cancel", "arrows and enter choose"
        )
        assert console.run.commands == []
        await console.press("escape")
        assert console.run.commands == []
        await console.press("x", "x", "s", "ctrl+c")
        assert console.run.commands == []
        await console.press("x", "y")
        assert console.run.commands == [cmd.StopRun()]
        await console.shows("◐ stopping", "stop requested")
        console.run.emit(ev.StopRequested(reason="asked to stop"))
        console.run.answer(97, "stops here")
        console.run.emit(ev.RunFinished(status="stopped", reason="asked to stop", step=97, epoch=5))
        console.run.hang_up()
        await console.shows("■ stopped", "stopped at step 97: asked to stop")
        assert console.app.received == []


async def test_d_detaches_without_a_command() -> None:
    async with watching(running()) as console:
        await console.press("d")
        assert [type(message) for message in console.app.received] == [RunScreen.CloseRequested]
        assert console.run.commands == []


@pytest.mark.parametrize("key", ["q", "ctrl+q", "ctrl+c"])
async def test_leaving_a_live_run_asks_whether_to_detach_or_stop(key: str) -> None:
    async with watching(running()) as console:
        await console.press(key)
        await console.shows("Leave digits-cnn")
        await console.press("escape")
        assert console.app.received == []
        await console.press(key, "d")
        assert [type(message) for message in console.app.received] == [RunScreen.CloseRequested]
        assert console.run.commands == []


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+c"])
async def test_pressing_the_leave_key_twice_detaches(key: str) -> None:
    async with watching(running()) as console:
        await console.press(key)
        await console.shows("d, ctrl+c")
        await console.press(key)
        assert len(console.app.received) == 1
        assert console.run.commands == []


async def test_stop_and_leave_waits_for_the_end_of_the_run() -> None:
    async with watching(running()) as console:
        await console.press("q", "s", "x")
        assert console.run.commands == [cmd.StopRun()]
        await console.press("question_mark")
        assert console.app.received == []
        console.run.answer(97, "stops here")
        console.run.emit(ev.RunFinished(status="stopped", reason="asked to stop", step=97, epoch=5))
        console.run.hang_up()
        await console.until(lambda: console.app.received)
        assert [type(message) for message in console.app.received] == [RunScreen.CloseRequested]
        assert console.app.screen is console.app.run_screen


async def test_a_change_by_another_user_replaces_the_reply_to_ours() -> None:
    other = ev.CommandApplied(
        id="2", command=cmd.HoldLearningRate(), step=95, by="you@pts/2", detail="lr 0.01778, held", time=NOON
    )
    async with watching(running()) as console:
        await console.press("plus")
        console.run.emit(other)
        await console.settle()
        assert "you@pts/2" not in console.text
        console.run.answer(94, "lr 0.01 -> 0.01778", {"lr": 0.01778})
        await console.shows("lr 0.01 -> 0.01778 · applied at step 94")
        console.run.emit(other)
        await console.shows("step 95: lr 0.01778, held · by you@pts/2")
        assert "applied at step 94" not in console.text


async def test_a_rejected_command_shows_the_reason() -> None:
    async with watching(running()) as console:
        await console.press("plus")
        console.run.reject("the scheduled lr is 0")
        await console.shows("lr x1.78 rejected: the scheduled lr is 0")
        await console.settle()
        assert "pending" not in console.text


async def test_a_command_without_a_reply_is_shown_as_not_applied() -> None:
    async with watching(running()) as console:
        await console.press("space")
        console.run.fail_to_answer(RunError("the worker is gone"))
        await console.shows("pause not applied: the worker is gone", "● running")


async def test_the_palette_runs_the_action_of_a_key() -> None:
    async with watching(running()) as console:
        await console.press("ctrl+p")
        await console.pilot.press(*"checkpoint that is kept")
        await console.shows("Save a checkpoint that is kept")
        await console.press("down", "enter")
        await console.until(lambda: console.run.commands == [cmd.SaveCheckpoint()])


async def test_a_slash_in_the_help_opens_the_palette() -> None:
    async with watching(running()) as console:
        await console.press("question_mark")
        await console.shows("/ finds an action")
        await console.press("slash")
        await console.pilot.press(*"checkpoint that is kept")
        await console.shows("key: s")
        await console.press("down", "enter")
        await console.until(lambda: console.run.commands == [cmd.SaveCheckpoint()])


async def test_a_click_in_the_key_bar_runs_the_action() -> None:
    async with watching(running()) as console:
        column = console.text.splitlines()[-1].index("s save")
        await console.pilot.click("KeyBar", offset=(column + 1, 0))
        await console.until(lambda: console.run.commands == [cmd.SaveCheckpoint()])


async def test_a_read_only_console_sends_nothing_and_leaves_without_asking() -> None:
    run = running()
    run.read_only = "attached read-only"
    async with watching(run) as console:
        await console.shows("● running", "read-only", "attached read-only", "d detach")
        assert "space pause" not in console.text
        for key in ("space", "plus", "l", "s", "e", "x", "r"):
            await console.press(key)
            await console.shows(": attached read-only")
        assert console.run.commands == []
        console.run.emit(logged(93, 95))
        await console.shows("train 0.6545")
        await console.press("q")
        assert len(console.app.received) == 1


async def test_a_read_only_console_cannot_resume_a_run() -> None:
    stopped = ev.RunFinished(status="stopped", reason="enough", step=46, epoch=2)
    run = ScriptedRun(*BEGINNING, *epochs(1, 2), stopped, live=False)
    run.read_only = "attached read-only"
    async with watching(run) as console:
        await console.shows("stopped at step 46")
        assert "r resume" not in console.text
        await console.press("r")
        assert console.app.received == []


async def test_over_ssh_the_screen_below_a_dialog_is_not_refreshed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change below a dialog redraws the whole terminal, which would delay the response to a key."""
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 5000 10.0.0.2 22")
    async with watching(running()) as console:
        await console.press("plus")
        await console.shows("requested", "train 0.7029")
        await console.press("x")
        console.run.answer(93, "lr 0.01 -> 0.01778", {"lr": 0.01778})
        console.run.emit(logged(93, 100))
        await console.settle()
        assert "train 0.7029" in console.text_below
        assert "requested" in console.text_below
        await console.press("escape")
        await console.shows("applied at step 93")


async def test_a_paused_run_says_for_how_long_and_by_whom() -> None:
    async with watching(running(), size=(120, 40)) as console:
        await console.press("space")
        console.run.answer(92, "paused")
        console.run.emit(ev.RunPaused(step=92), ev.PhaseChanged(phase="paused", time=NOON))
        await console.settle()
        console.app.now += 120
        console.run.emit(ev.TelemetryMeasured(telemetry=TELEMETRY))
        await console.shows("‖ paused at step 92 for 2:12 by me@pts/1   space unpause")
