"""The console foresees the lr that the engine will make of a command."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lr_curves import Part, drive, learning_rate, optimizer
from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.commands import HoldLearningRate, ReleaseLearningRate, SetLearningRate
from torchconsole.engine.protocol.events import SchedulePlanned
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.training.learning_rate import LearningRate
from torchconsole.engine.training.lr_forecast import forecast_lr
from torchconsole.tui.learning_rate import LearningRateCommand
from torchconsole.tui.outlook import outlook

LRS = st.floats(1e-4, 1e2)
COMMANDS = st.one_of(
    st.builds(SetLearningRate, value=LRS),
    st.builds(SetLearningRate, factor=LRS),
    st.builds(HoldLearningRate, value=LRS),
    st.just(HoldLearningRate()),
    st.just(ReleaseLearningRate()),
)
DONE = 6


def carry_out(rate: LearningRate, command: LearningRateCommand) -> None:
    """As the engine does."""
    match command:
        case SetLearningRate(value=None):
            rate.multiply(command.factor or 1.0)
        case SetLearningRate():
            rate.set_value(command.value or 0.0)
        case HoldLearningRate():
            rate.hold(command.value)
        case ReleaseLearningRate():
            rate.release()


def told(rate: LearningRate) -> RunState:
    """What a console knows of a run after DONE steps."""
    ahead = forecast_lr(rate.copy_schedule(), DONE, 2)
    scheduled = Points.of(ahead.steps.tolist(), ahead.lrs[0].tolist())
    state = RunState(name="run", folder="run", step=DONE, metrics={"lr": rate.current})
    state.lr_scale, state.lr_held = rate.scale, rate.held
    state.schedule = SchedulePlanned(scheduled=scheduled)
    return state


@settings(deadline=None)
@given(before=st.lists(COMMANDS, max_size=3), command=COMMANDS)
def test_a_preview_is_what_then_happens(
    before: list[LearningRateCommand], command: LearningRateCommand
) -> None:
    real = optimizer()
    rate = learning_rate((Part("CosineAnnealingLR"),), real)
    drive(rate, real, {}, last=DONE)
    for earlier in before:
        attempt(rate, earlier)
    foreseen = outlook(told(rate)).after(command)
    attempt(rate, command)
    assert foreseen.lr == pytest.approx(rate.current)
    assert foreseen.values == pytest.approx(drive(rate, real, {}, first=DONE + 1)[:, 0])


def attempt(rate: LearningRate, command: LearningRateCommand) -> None:
    """Carry out what is not refused."""
    try:
        carry_out(rate, command)
    except CommandRejectedError:
        assert isinstance(command, HoldLearningRate | ReleaseLearningRate)


def test_without_a_plan_the_lr_now_is_all_that_is_known() -> None:
    state = RunState(name="run", folder="run", metrics={"lr": 0.1}, lr_scale=0.5)
    known = outlook(state).after(SetLearningRate(value=0.4))
    assert (known.lr, known.scale, len(known.values)) == (pytest.approx(0.4), pytest.approx(2.0), 0)
    assert outlook(RunState(name="run", folder="run")).after(SetLearningRate(value=0.4)).lr is None
