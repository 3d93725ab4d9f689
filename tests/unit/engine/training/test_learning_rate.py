"""The lr in force is torch's own curve times the scale, or what is held, whatever is done to it by hand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import AdamW, lr_scheduler

from tests.support.lr_curves import (
    ARGUMENTS,
    EPOCHS,
    STEPS_PER_EPOCH,
    TOTAL,
    WARM_UP,
    Case,
    Part,
    Rows,
    cases_for,
    drive,
    learning_rate,
    optimizer,
    torch_curve,
)
from torchconsole.engine.components.schedulers import known_schedulers
from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.errors import CommandRejectedError, ComponentError
from torchconsole.engine.protocol.commands import HoldLearningRate, ReleaseLearningRate, SetLearningRate
from torchconsole.engine.protocol.lr_state import LearningRateCommand
from torchconsole.engine.training.learning_rate import LearningRate

ACTIONS = ("nothing", "factor", "value", "hold", "resume", "resume held")
CASES = cases_for(ACTIONS)
"""What the user does to each schedule; `cases_for` chooses the combinations."""


def parametrize(*actions: str) -> pytest.MarkDecorator:
    """Run a test with the cases of these actions."""
    assert set(actions) <= set(ACTIONS)
    chosen = [pytest.param(*each, id=f"{each[1]}-{each[0]}") for each in CASES if each[0] in actions]
    return pytest.mark.parametrize(("action", "case"), chosen)


def exactly(rows: Rows) -> Any:
    return pytest.approx(rows, rel=1e-12, abs=1e-16)


def test_the_table_has_every_schedule() -> None:
    assert set(ARGUMENTS) == set(known_schedulers())


@parametrize("nothing")
def test_without_changes_the_lr_follows_torchs_curve(action: str, case: Case) -> None:
    real = optimizer(case.groups)
    assert drive(learning_rate(case.parts, real), real, {}) == exactly(torch_curve(*case))


@parametrize("factor")
def test_a_factor_scales_the_rest_of_the_curve_from_the_next_step(action: str, case: Case) -> None:
    real = optimizer(case.groups)
    expected = torch_curve(*case)
    expected[9:] *= 0.5
    expected[14:] *= 3.0
    changes = {
        10: lambda rate: rate.apply(SetLearningRate(factor=0.5)),
        15: lambda rate: rate.apply(SetLearningRate(factor=3.0)),
    }
    assert drive(learning_rate(case.parts, real), real, changes) == exactly(expected)


@parametrize("value")
def test_a_value_becomes_a_scale_and_every_group_keeps_its_ratio(action: str, case: Case) -> None:
    real = optimizer(case.groups)
    expected = torch_curve(*case)
    expected[9:] *= 0.02 / expected[9, 0]
    changes = {10: lambda rate: rate.apply(SetLearningRate(value=0.02))}
    rows = drive(learning_rate(case.parts, real), real, changes)
    assert rows == exactly(expected)
    assert rows[9, 0] == pytest.approx(0.02)


@parametrize("hold")
def test_the_schedule_advances_during_a_hold(action: str, case: Case) -> None:
    real = optimizer(case.groups)
    curve = torch_curve(*case)
    expected = curve * np.where(np.arange(TOTAL) < 5, 1.0, 0.5)[:, None]
    expected[9:17] = 0.02 * curve[9] / curve[9, 0]
    changes = {
        6: lambda rate: rate.apply(SetLearningRate(factor=0.5)),
        10: lambda rate: rate.apply(HoldLearningRate(value=0.02)),
        18: lambda rate: rate.apply(ReleaseLearningRate()),
    }
    assert drive(learning_rate(case.parts, real), real, changes) == exactly(expected)


@parametrize("resume", "resume held")
@pytest.mark.filterwarnings("error")
def test_a_restored_state_continues_exactly(action: str, case: Case) -> None:
    held = action == "resume held"
    real, later_real = optimizer(case.groups), optimizer(case.groups)
    rate, later = learning_rate(case.parts, real), learning_rate(case.parts, later_real)
    rate.apply(SetLearningRate(factor=0.3))
    if held:
        rate.apply(HoldLearningRate(value=0.07))
    drive(rate, real, {}, last=11)
    later.load_state_dict(copy.deepcopy(rate.state_dict()))
    assert later.held == rate.held
    changes = {20: lambda rate: rate.apply(ReleaseLearningRate())} if held else {}
    rows = drive(rate, real, changes, first=12)
    assert np.array_equal(drive(later, later_real, changes, first=12), rows)


Change = tuple[str, float]


@settings(deadline=None)
@given(
    case=st.sampled_from([case for _, case in CASES]),
    changes=st.dictionaries(
        st.integers(2, TOTAL),
        st.tuples(st.sampled_from(("multiply", "set_value", "hold", "hold_now", "release")),
                  st.floats(1e-3, 1e3)),
        max_size=8,
    ),
    interrupted=st.integers(1, TOTAL - 1),
)  # fmt: skip
def test_any_changes_in_any_order_with_a_resume(
    case: Case, changes: dict[int, Change], interrupted: int
) -> None:
    real, later_real = optimizer(case.groups), optimizer(case.groups)
    rate, later = learning_rate(case.parts, real), learning_rate(case.parts, later_real)
    made = {step: lambda rate, change=change: make(rate, *change) for step, change in changes.items()}
    before = drive(rate, real, made, last=interrupted)
    later.load_state_dict(copy.deepcopy(rate.state_dict()))
    after = drive(later, later_real, made, first=interrupted + 1)
    assert np.concatenate([before, after]) == pytest.approx(model_of(case, changes), rel=1e-9, abs=1e-15)


def make(rate: LearningRate, kind: str, number: float) -> None:
    commands: dict[str, LearningRateCommand] = {
        "multiply": SetLearningRate(factor=number),
        "set_value": SetLearningRate(value=number),
        "hold": HoldLearningRate(value=number),
        "hold_now": HoldLearningRate(),
        "release": ReleaseLearningRate(),
    }
    try:
        rate.apply(commands[kind])
    except CommandRejectedError:
        assert kind in ("hold_now", "release")


def model_of(case: Case, changes: dict[int, Change]) -> Rows:
    """Compute what the changes should give, on a curve that is known beforehand."""
    scale, held, rows = 1.0, None, []
    for step, scheduled in enumerate(torch_curve(*case), start=1):
        kind, number = changes.get(step, ("", 1.0))
        if kind == "hold" or (kind == "set_value" and held is not None):
            held = number * scheduled / scheduled[0]
        elif kind == "set_value":
            scale = number / scheduled[0]
        elif kind == "multiply" and held is not None:
            held = held * number
        elif kind == "multiply":
            scale *= number
        elif kind == "hold_now" and held is None:
            held = scheduled * scale
        elif kind == "release":
            held = None
        rows.append(scheduled * scale if held is None else held)
    return np.array(rows)


def falling_to_zero() -> tuple[LearningRate, Any]:
    """A schedule at 0, within floating-point error."""
    real = optimizer()
    falling = ScheduleConfig.model_validate({"name": "LinearLR", "start_factor": 1.0, "end_factor": 0.0})
    rate = LearningRate(real, [falling], EPOCHS, STEPS_PER_EPOCH)
    drive(rate, real, {})
    return rate, real


def test_a_value_is_rejected_while_the_scheduled_lr_is_zero() -> None:
    rate, _ = falling_to_zero()
    with pytest.raises(CommandRejectedError, match=r"scaling cannot reach 0\.1; use `hold 0\.1`"):
        rate.apply(SetLearningRate(value=0.1))


def test_a_factor_is_rejected_while_the_lr_is_set_to_zero() -> None:
    rate = learning_rate((Part("ExponentialLR"),))
    rate.apply(SetLearningRate(value=0.0))
    with pytest.raises(CommandRejectedError, match=r"no factor changes; use a value, such as `lr 0\.1`"):
        rate.apply(SetLearningRate(factor=0.5))
    rate.apply(HoldLearningRate())
    with pytest.raises(CommandRejectedError, match=r"such as `hold 0\.1`"):
        rate.apply(SetLearningRate(factor=2.0))
    rate.apply(ReleaseLearningRate())
    rate.apply(SetLearningRate(value=0.1))
    rate.apply(SetLearningRate(factor=0.5))
    assert rate.current == pytest.approx(0.05)


def test_a_factor_is_for_later_while_only_the_schedule_is_at_zero() -> None:
    rate, _ = falling_to_zero()
    rate.apply(SetLearningRate(factor=0.5))
    assert rate.scale == 0.5


def test_a_hold_while_the_scheduled_lr_is_zero_uses_the_presets_ratio() -> None:
    rate, real = falling_to_zero()
    rate.apply(HoldLearningRate(value=0.2))
    assert [group["lr"] for group in real.param_groups] == pytest.approx([0.2, 0.02])
    rate.apply(SetLearningRate(value=0.1))
    assert [group["lr"] for group in real.param_groups] == pytest.approx([0.1, 0.01])
    rate.apply(ReleaseLearningRate())
    assert rate.current == pytest.approx(0, abs=1e-12)


def test_while_held_changes_affect_the_held_value_and_not_the_scale() -> None:
    real = optimizer()
    rate = learning_rate((Part("ExponentialLR"),), real)
    rate.apply(SetLearningRate(factor=2.0))
    rate.apply(HoldLearningRate())
    assert rate.held == rate.current == 0.2
    rate.apply(SetLearningRate(factor=0.5))
    rate.apply(SetLearningRate(value=rate.current * 3))
    drive(rate, real, {}, last=1)
    assert [group["lr"] for group in real.param_groups] == pytest.approx([0.3, 0.03])
    rate.apply(ReleaseLearningRate())
    assert (rate.held, rate.scale) == (None, 2.0)
    assert rate.current == pytest.approx(0.1 * 0.9 * 2.0)


def test_an_lr_held_at_zero_can_be_held_higher_again() -> None:
    real = optimizer()
    rate = learning_rate((Part("ExponentialLR"),), real)
    rate.apply(HoldLearningRate(value=0.0))
    assert [group["lr"] for group in real.param_groups] == [0.0, 0.0]
    rate.apply(SetLearningRate(value=0.5))
    assert [group["lr"] for group in real.param_groups] == pytest.approx([0.5, 0.05])


def test_commands_without_effect_or_with_a_result_that_is_not_finite_are_rejected() -> None:
    rate = learning_rate((Part("ExponentialLR"),))
    with pytest.raises(CommandRejectedError, match="the lr is not held"):
        rate.apply(ReleaseLearningRate())
    rate.apply(SetLearningRate.model_construct(factor=1e300))
    with pytest.raises(CommandRejectedError, match="would not be finite"):
        rate.apply(SetLearningRate.model_construct(factor=1e300))
    rate.apply(HoldLearningRate.model_construct(value=1e300))
    with pytest.raises(CommandRejectedError, match="would not be finite"):
        rate.apply(SetLearningRate.model_construct(factor=1e300))
    with pytest.raises(CommandRejectedError, match=r"already held at 1e\+300"):
        rate.apply(HoldLearningRate())


def test_cycled_momentum_is_copied_unscaled_even_during_a_hold() -> None:
    real, reference = optimizer(1), optimizer(1)
    rate = learning_rate((Part("OneCycleLR"),), real)
    scheduler = lr_scheduler.OneCycleLR(reference, max_lr=0.5, total_steps=TOTAL)
    rate.apply(SetLearningRate(factor=0.1))
    for _ in range(2):
        rate.step()
        reference.step()
        scheduler.step()
        assert real.param_groups[0]["momentum"] == reference.param_groups[0]["momentum"]
        rate.apply(HoldLearningRate(value=0.3))


def test_a_part_that_counts_epochs_may_follow_one_that_counts_steps() -> None:
    real = optimizer()
    parts = [
        {"name": "LinearLR", "start_factor": 0.5, "until": STEPS_PER_EPOCH},
        {"name": "StepLR", "step_size": 1, "gamma": 0.1, "interval": "epoch"},
    ]
    configs = [ScheduleConfig.model_validate(part) for part in parts]
    rows = drive(LearningRate(real, configs, EPOCHS, STEPS_PER_EPOCH), real, {})
    assert rows[::STEPS_PER_EPOCH, 0][:4] == pytest.approx([0.05, 0.1, 0.01, 0.001])


def test_it_is_reported_whether_a_plateau_changed_the_lr() -> None:
    rate = learning_rate((WARM_UP, Part("ReduceLROnPlateau", "epoch")))
    logged = []
    for value in (1.0, 1.0, None, 0.5, 0.5):  # a value that cannot be computed is no improvement
        for _ in range(STEPS_PER_EPOCH):
            rate.step()
        rate.epoch()
        logged.append(rate.evaluated({"val/loss": value}))
    assert logged == [False, False, True, False, True]


def test_without_a_schedule_the_lr_is_constant_and_can_still_be_changed() -> None:
    real = AdamW([torch.zeros(1, requires_grad=True)], lr=0.01)
    rate = LearningRate(real, [], EPOCHS, STEPS_PER_EPOCH)
    rate.apply(SetLearningRate(factor=0.1))
    rate.step()
    rate.epoch()
    assert real.param_groups[0]["lr"] == pytest.approx(0.001)
    rate.apply(HoldLearningRate(value=0.5))
    rate.step()
    assert real.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"name": "CosineAnealingLR"}, "did you mean 'CosineAnnealingLR'"),
        ({"name": "StepLR"}, "schedule.0.step_size: StepLR requires this argument"),
        ({"name": "StepLR", "step_size": 0}, "schedule.0: StepLR cannot step: integer modulo by zero"),
        ({"name": "ReduceLROnPlateau", "patience": "x"}, "schedule.0: ReduceLROnPlateau cannot step"),
        ({"name": "OneCycleLR", "max_lr": 1, "total_steps": 3}, "total_steps: OneCycleLR ends after 3"),
        ({"name": "StepLR", "step_size": 3, "gama": 1}, "takes no argument 'gama', did you mean 'gamma'"),
    ],
)
def test_a_wrong_part_gives_one_message(part: dict[str, Any], message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        LearningRate(optimizer(), [ScheduleConfig.model_validate(part)], EPOCHS, STEPS_PER_EPOCH)
    assert message in str(caught.value)


def test_a_later_part_is_checked_at_the_start() -> None:
    first = ScheduleConfig.model_validate({"name": "LinearLR", "until": 3})
    second = ScheduleConfig.model_validate({"name": "StepLR", "step_size": 1, "gamma": "x"})
    with pytest.raises(ComponentError, match=r"schedule\.1: StepLR cannot step"):
        LearningRate(optimizer(), [first, second], EPOCHS, STEPS_PER_EPOCH)


def test_the_length_of_a_later_part_counts_from_its_start() -> None:
    first = ScheduleConfig.model_validate({"name": "LinearLR", "until": 3})
    rest = EPOCHS * STEPS_PER_EPOCH - 3
    second = {"name": "OneCycleLR", "max_lr": 1, "cycle_momentum": False}
    fits = ScheduleConfig.model_validate({**second, "total_steps": rest})
    LearningRate(optimizer(), [first, fits], EPOCHS, STEPS_PER_EPOCH)
    short = ScheduleConfig.model_validate({**second, "total_steps": rest - 1})
    with pytest.raises(ComponentError, match=rf"OneCycleLR ends after {rest - 1} steps, .* lasts {rest}"):
        LearningRate(optimizer(), [first, short], EPOCHS, STEPS_PER_EPOCH)
