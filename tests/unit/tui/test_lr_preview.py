"""The preview of a command about the lr is what the engine then does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lr_curves import EPOCHS, STEPS_PER_EPOCH, Part, drive, optimizer
from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.commands import HoldLearningRate, ReleaseLearningRate, SetLearningRate
from torchconsole.engine.protocol.events import SchedulePlanned
from torchconsole.engine.protocol.lr_state import LearningRateCommand
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.training.learning_rate import LearningRate
from torchconsole.engine.training.lr_forecast import forecast_lr
from torchconsole.tui.lr_preview import lr_preview

LRS = st.floats(1e-4, 1e2)
COMMANDS = st.one_of(
    st.builds(SetLearningRate, value=LRS),
    st.builds(SetLearningRate, factor=LRS),
    st.builds(HoldLearningRate, value=LRS),
    st.just(HoldLearningRate()),
    st.just(ReleaseLearningRate()),
)
DONE = 6


def known_to_console(rate: LearningRate) -> RunState:
    """The state of a run after DONE steps, as a console has it."""
    ahead = forecast_lr(rate.copy_schedule(), DONE, 2)
    scheduled = Points.of(ahead.steps.tolist(), ahead.lrs[0].tolist())
    state = RunState(name="run", folder="run", step=DONE, metrics={"lr": rate.current})
    state.lr_scale, state.lr_held = rate.scale, rate.held
    state.schedule = SchedulePlanned(scheduled=scheduled, base=rate.base)
    return state


def falling_to_zero(at: int) -> tuple[ScheduleConfig, ...]:
    """A schedule that is 0 from step `at` + 1 on, but for what floats lose on the way."""
    length = {"interval": "step", "total_iters": at}
    settings = {"name": "LinearLR", "start_factor": 1.0, "end_factor": 0.0, **length}
    return (ScheduleConfig.model_validate(settings),)


def rejection_of(apply: Callable[[LearningRateCommand], object], command: LearningRateCommand) -> str:
    """Why `apply` rejects the command; empty if it accepts it."""
    try:
        apply(command)
    except CommandRejectedError as rejection:
        return str(rejection)
    return ""


@settings(deadline=None)
@given(
    parts=st.sampled_from([(Part("CosineAnnealingLR").config,), falling_to_zero(DONE)]),
    before=st.lists(COMMANDS, max_size=3),
    command=COMMANDS,
)
def test_preview_and_engine_agree_in_every_state(
    parts: tuple[ScheduleConfig, ...], before: list[LearningRateCommand], command: LearningRateCommand
) -> None:
    real = optimizer()
    rate = LearningRate(real, parts, EPOCHS, STEPS_PER_EPOCH)
    drive(rate, real, {}, last=DONE)
    for earlier in before:
        with suppress(CommandRejectedError):
            rate.apply(earlier)
    preview = lr_preview(known_to_console(rate))
    rejection, after = rejection_of(rate.apply, command), preview
    assert rejection_of(preview.after, command) == rejection
    if not rejection:
        after = preview.after(command)
        assert after.lr == pytest.approx(rate.current, rel=1e-12, abs=1e-15)
        assert after.values == pytest.approx(
            drive(rate, real, {}, first=DONE + 1)[:, 0], rel=1e-12, abs=1e-15
        )


def test_a_value_that_scaling_cannot_reach_is_rejected_in_the_preview_too() -> None:
    """The schedule has come down to 1e-18 or so, not to 0."""
    real = optimizer()
    rate = LearningRate(real, falling_to_zero(DONE), EPOCHS, STEPS_PER_EPOCH)
    drive(rate, real, {}, last=DONE)
    with pytest.raises(CommandRejectedError, match=r"scaling cannot reach 0.01; use `hold 0.01`"):
        lr_preview(known_to_console(rate)).after(SetLearningRate(value=0.01))


def test_without_a_forecast_only_the_present_lr_is_known() -> None:
    state = RunState(name="run", folder="run", metrics={"lr": 0.1}, lr_scale=0.5)
    known = lr_preview(state).after(SetLearningRate(value=0.4))
    assert (known.lr, known.state.scale, len(known.values)) == (pytest.approx(0.4), pytest.approx(2.0), 0)


def test_while_the_lr_is_unknown_only_a_hold_at_a_value_makes_it_known() -> None:
    unknown = lr_preview(RunState(name="run", folder="run"))
    assert unknown.after(SetLearningRate(value=0.4)).lr is None
    assert unknown.after(HoldLearningRate()).lr is None
    assert unknown.after(HoldLearningRate(value=0.4)).lr == 0.4
