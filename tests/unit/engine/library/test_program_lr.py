"""The lr of a program is changed only while its optimizer steps: schedulers and the program never see it."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.library.program_lr import ProgramLr
from torchconsole.engine.protocol.commands import (
    HoldLearningRate,
    ReleaseLearningRate,
    SetLearningRate,
)


def optimizer_of(*lrs: float) -> Optimizer:
    return SGD([{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in lrs])


def stepped_with(rate: ProgramLr, optimizer: Optimizer) -> list[float]:
    """Return the lrs that a step would use; the optimizer has its own again afterwards."""
    before = [group["lr"] for group in optimizer.param_groups]
    rate.put_in_force(optimizer)
    used = [float(group["lr"]) for group in optimizer.param_groups]
    rate.restore(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == before
    return used


@pytest.fixture
def optimizers() -> list[Optimizer]:
    return [optimizer_of(0.1, 0.01), optimizer_of(1.0)]


@pytest.fixture
def rate(optimizers: list[Optimizer]) -> ProgramLr:
    rate = ProgramLr()
    for optimizer in optimizers:
        rate.add(optimizer)
    return rate


def test_a_factor_is_for_all_groups_of_all_optimizers(rate: ProgramLr, optimizers: list[Optimizer]) -> None:
    rate.apply(SetLearningRate(factor=0.5))
    assert stepped_with(rate, optimizers[0]) == [0.05, 0.005]
    assert stepped_with(rate, optimizers[1]) == [0.5]
    assert rate.current == 0.05


def test_a_value_is_that_of_the_first_group_and_ratios_stay(
    rate: ProgramLr, optimizers: list[Optimizer]
) -> None:
    rate.apply(SetLearningRate(value=0.2))
    assert stepped_with(rate, optimizers[0]) == pytest.approx([0.2, 0.02])
    assert stepped_with(rate, optimizers[1]) == pytest.approx([2.0])


def test_a_held_lr_stays_while_the_program_changes_its_own(
    rate: ProgramLr, optimizers: list[Optimizer]
) -> None:
    rate.apply(HoldLearningRate(value=0.3))
    optimizers[0].param_groups[0]["lr"] = 0.001
    assert stepped_with(rate, optimizers[0]) == pytest.approx([0.3, 0.03])
    assert rate.held == 0.3
    rate.apply(ReleaseLearningRate())
    assert stepped_with(rate, optimizers[0]) == [0.001, 0.01]


@pytest.mark.parametrize("scheduler", [StepLR, CosineAnnealingLR])
def test_a_scheduler_goes_on_as_without_a_change(scheduler: type) -> None:
    changed, plain = optimizer_of(0.1), optimizer_of(0.1)
    rate = ProgramLr()
    rate.add(changed)
    schedules = [scheduler(optimizer, 2) for optimizer in (changed, plain)]
    rate.apply(SetLearningRate(factor=0.25))
    for _ in range(5):
        expected = plain.param_groups[0]["lr"]
        assert stepped_with(rate, changed) == pytest.approx([0.25 * expected])
        for optimizer, schedule in zip((changed, plain), schedules, strict=True):
            optimizer.step()
            schedule.step()
    assert changed.param_groups[0]["lr"] == plain.param_groups[0]["lr"]


def test_an_lr_in_a_tensor_stays_one() -> None:
    lr = torch.tensor(0.1)
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(1))], lr=lr, capturable=False, foreach=False)
    rate = ProgramLr()
    rate.add(optimizer)
    rate.apply(SetLearningRate(factor=2.0))
    rate.put_in_force(optimizer)
    assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.2)
    rate.restore(optimizer)
    assert optimizer.param_groups[0]["lr"] is lr
    assert float(lr) == pytest.approx(0.1)


def test_a_group_that_is_added_later_keeps_its_ratio(rate: ProgramLr, optimizers: list[Optimizer]) -> None:
    rate.apply(HoldLearningRate(value=1.0))
    optimizers[0].add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.05})
    rate.apply(SetLearningRate(factor=2.0))
    assert stepped_with(rate, optimizers[0]) == pytest.approx([2.0, 0.2, 1.0])


def test_without_an_optimizer_there_is_no_lr() -> None:
    with pytest.raises(CommandRejectedError, match="without an optimizer"):
        ProgramLr().apply(SetLearningRate(factor=0.5))


def test_a_step_that_fails_does_not_change_the_lr_twice(rate: ProgramLr, optimizers: list[Optimizer]) -> None:
    rate.apply(SetLearningRate(factor=0.5))
    rate.put_in_force(optimizers[0])  # and the step raises, so that nobody restores
    rate.put_in_force(optimizers[0])
    assert [group["lr"] for group in optimizers[0].param_groups] == [0.05, 0.005]
    rate.restore(optimizers[0])
    assert [group["lr"] for group in optimizers[0].param_groups] == [0.1, 0.01]


def test_an_optimizer_that_is_added_while_the_lr_is_held_steps_with_what_is_shown(
    rate: ProgramLr, optimizers: list[Optimizer]
) -> None:
    rate.apply(HoldLearningRate(value=0.2))
    later = optimizer_of(0.05)
    rate.add(later)
    assert rate.groups()[-1] == pytest.approx(0.1)
    assert stepped_with(rate, later) == pytest.approx([0.1])


def test_a_dropped_optimizer_is_forgotten(rate: ProgramLr, optimizers: list[Optimizer]) -> None:
    rate.apply(HoldLearningRate(value=0.2))
    del optimizers[:]
    gc.collect()
    later = optimizer_of(0.05)
    rate.add(later)
    assert rate.groups() == pytest.approx([0.2])
    assert stepped_with(rate, later) == pytest.approx([0.2])


def test_a_warmup_from_zero_can_be_held() -> None:
    optimizer = optimizer_of(0.0, 0.0)
    rate = ProgramLr()
    rate.add(optimizer)
    rate.apply(HoldLearningRate(value=0.2))
    assert stepped_with(rate, optimizer) == [0.2, 0.2]


@pytest.mark.parametrize("lr", [None, "auto", torch.zeros(2)])
def test_groups_without_an_lr_are_left_alone(lr: object) -> None:
    optimizer = optimizer_of(0.1, 0.2)
    optimizer.param_groups[0]["lr"] = lr
    rate = ProgramLr()
    rate.add(optimizer)
    assert rate.current == 0.2
    rate.apply(SetLearningRate(factor=0.5))
    rate.put_in_force(optimizer)
    assert optimizer.param_groups[0]["lr"] is lr
    assert optimizer.param_groups[1]["lr"] == 0.1
    rate.restore(optimizer)
    assert optimizer.param_groups[1]["lr"] == 0.2


def test_an_optimizer_without_an_lr_has_none_to_change() -> None:
    optimizer = optimizer_of(0.1)
    del optimizer.param_groups[0]["lr"]
    rate = ProgramLr()
    rate.add(optimizer)
    rate.put_in_force(optimizer)
    rate.restore(optimizer)
    with pytest.raises(CommandRejectedError, match='the optimizer has no "lr"'):
        rate.apply(SetLearningRate(factor=0.5))
