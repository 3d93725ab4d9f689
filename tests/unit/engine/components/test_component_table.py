"""Every optimizer, schedule and loss of the installed torch works, or is listed as unsupported."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from tests.support.specs import USER_CODE, batch, spec
from torchconsole.engine.components import losses, optimizers, schedulers
from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.instantiate import classes_of
from torchconsole.engine.components.loss_adapters import LOSS_ADAPTERS
from torchconsole.engine.components.losses import build_loss
from torchconsole.engine.components.optimizers import build_optimizer
from torchconsole.engine.components.torch_compat import LossBase
from torchconsole.engine.config.schema import LossConfig, OptimizerConfig, ScheduleConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.training.learning_rate import LearningRate

TASKS: tuple[TaskType, ...] = ("multiclass", "binary", "multilabel", "regression")
OPTIMIZERS = sorted(classes_of(optim, optim.Optimizer))
LOSSES = sorted({*classes_of(nn, LossBase), *(name for name in vars(nn) if name.endswith("Loss"))})
SCHEDULES = sorted(classes_of(optim.lr_scheduler, optim.lr_scheduler.LRScheduler))

SCHEDULE_ARGUMENTS: dict[str, dict[str, Any]] = {
    "ChainedScheduler": {"schedulers": [{"name": "LinearLR"}, {"name": "ExponentialLR", "gamma": 0.9}]},
    "ConstantLR": {"total_iters": 1},
    "CosineAnnealingWarmRestarts": {"T_0": 4},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1},
    "ExponentialLR": {"gamma": 0.9},
    "MultiStepLR": {"milestones": [2, 4]},
    "OneCycleLR": {"max_lr": 0.1},
    "ReduceLROnPlateau": {"interval": "epoch", "patience": 0},
    "StepLR": {"step_size": 2},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_a_loss_or_is_rejected_with_a_reason(name: str) -> None:
    model = nn.Linear(4, 3, bias=False)
    config = OptimizerConfig(name=name, lr=0.01)
    if name in optimizers.UNSUPPORTED:
        with pytest.raises(ComponentError, match=f"{name} cannot be used"):
            build_optimizer(config, model, USER_CODE)
        return
    optimizer = build_optimizer(config, model, USER_CODE)
    inputs, targets = torch.randn(8, 4), torch.randn(8, 3)
    values = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < values[0]


def weights_and_targets(name: str, of: DataSpec) -> tuple[Tensor, Tensor]:
    """A model's raw outputs, and targets; two outputs for binary data if the loss takes two."""
    outputs, targets = batch(of)
    if of.task == "binary" and not LOSS_ADAPTERS[name].is_elementwise:
        outputs = batch(spec("multiclass", 2))[0]
    return outputs, targets


def activated(name: str, outputs: Tensor) -> Tensor:
    """The outputs of a model that ends in what the loss takes."""
    form = LOSS_ADAPTERS[name].outputs
    if form == "probabilities":
        return outputs.sigmoid()
    return outputs.log_softmax(1) if form == "log_probabilities" else outputs


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_gives_a_gradient_on_its_tasks_or_is_rejected_with_a_reason(name: str) -> None:
    if name in losses.UNSUPPORTED:
        with pytest.raises(ComponentError, match=f"loss.name: {name} cannot be used"):
            build_loss(LossConfig(name=name), spec(), None, USER_CODE)
        return
    assert name in LOSS_ADAPTERS, f"{name} is new in torch: add it to LOSS_ADAPTERS or UNSUPPORTED"
    for task in TASKS:
        of = spec(task, 1 if task == "binary" else 3)
        if task not in LOSS_ADAPTERS[name].tasks:
            with pytest.raises(ComponentError, match=f"but the data is {task}"):
                build_loss(LossConfig(name=name), of, None, USER_CODE)
            continue
        weights, targets = weights_and_targets(name, of)
        value = build_loss(LossConfig(name=name), of, None, USER_CODE)(activated(name, weights), targets)
        assert value.ndim == 0
        value.backward()
        assert weights.grad is not None
        assert torch.isfinite(weights.grad).all()
        assert weights.grad.any()


@pytest.mark.filterwarnings("ignore:reduction")
def test_a_step_along_the_gradient_lowers_every_loss() -> None:
    for name, adapter in LOSS_ADAPTERS.items():
        of = spec(adapter.tasks[0], 3)
        loss = build_loss(LossConfig(name=name), of, None, USER_CODE)
        weights, targets = weights_and_targets(name, of)
        before = loss(activated(name, weights), targets)
        before.backward()
        assert weights.grad is not None
        assert loss(activated(name, weights - 0.1 * weights.grad), targets) < before, name


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_changes_the_lr_or_is_rejected_with_a_reason(name: str) -> None:
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    part = ScheduleConfig.model_validate({"name": name, **SCHEDULE_ARGUMENTS.get(name, {})})
    if name in schedulers.UNSUPPORTED:
        with pytest.raises(ComponentError, match=rf"schedule\.0\.name: {name} cannot be used"):
            LearningRate(optimizer, [part], 3, 5)
        return
    rate = LearningRate(optimizer, [part], 3, 5)
    seen = {rate.current}
    for step in range(14):
        rate.step()
        if step % 5 == 4:
            rate.epoch()
            rate.evaluated({"val/loss": 1.0})
        seen.add(rate.current)
    assert len(seen) > 1
