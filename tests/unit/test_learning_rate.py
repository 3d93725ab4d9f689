"""The lr in force equals torch's own curve times the scale, whatever is done to it by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import SGD, AdamW, lr_scheduler

from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.errors import CommandRejectedError, ComponentError
from torchconsole.engine.training.learning_rate import LearningRate

EPOCHS, STEPS_PER_EPOCH = 4, 25
TOTAL = EPOCHS * STEPS_PER_EPOCH
CURVES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("LinearLR", {"start_factor": 0.1, "total_iters": 30}, {}),
    ("CosineAnnealingLR", {}, {"T_max": TOTAL}),
    ("CosineAnnealingWarmRestarts", {"T_0": 20}, {}),
    ("ExponentialLR", {"gamma": 0.97}, {}),
    ("StepLR", {"step_size": 15, "gamma": 0.5}, {}),
    ("MultiStepLR", {"milestones": [20, 50], "gamma": 0.1}, {}),
    ("PolynomialLR", {"power": 2.0}, {"total_iters": TOTAL}),
    ("OneCycleLR", {"max_lr": 0.5}, {"total_steps": TOTAL}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 10}, {}),
]


def optimizer(groups: int = 1) -> SGD:
    return SGD(
        [{"params": [torch.zeros(1, requires_grad=True)], "lr": 0.1 / (10**i)} for i in range(groups)],
        lr=0.1,
        momentum=0.9,
    )


def part(name: str, arguments: dict[str, Any], **more: Any) -> ScheduleConfig:
    return ScheduleConfig.model_validate({"name": name, **arguments, **more})


def torch_curve(name: str, arguments: dict[str, Any], steps: int) -> list[float]:
    reference = optimizer()
    scheduler = getattr(lr_scheduler, name)(reference, **arguments)
    curve = []
    for _ in range(steps):
        curve.append(reference.param_groups[0]["lr"])
        reference.step()
        scheduler.step()
    return curve


@pytest.mark.parametrize(("name", "arguments", "filled_in"), CURVES)
def test_without_changes_it_is_torchs_curve(
    name: str, arguments: dict[str, Any], filled_in: dict[str, Any]
) -> None:
    rate = LearningRate(optimizer(), [part(name, arguments)], EPOCHS, STEPS_PER_EPOCH)
    curve = []
    for _ in range(TOTAL - 1):
        curve.append(rate.current)
        rate.step()
    assert curve == pytest.approx(torch_curve(name, arguments | filled_in, TOTAL - 1), rel=1e-12)


@pytest.mark.parametrize(("name", "arguments", "filled_in"), CURVES)
def test_a_factor_scales_the_rest_of_the_curve_from_the_next_step(
    name: str, arguments: dict[str, Any], filled_in: dict[str, Any]
) -> None:
    rate = LearningRate(optimizer(), [part(name, arguments)], EPOCHS, STEPS_PER_EPOCH)
    expected = torch_curve(name, arguments | filled_in, TOTAL - 1)
    for step in range(TOTAL - 1):
        if step == 10:
            rate.multiply(0.5)
        assert rate.current == pytest.approx(expected[step] * (0.5 if step >= 10 else 1.0), rel=1e-12)
        rate.step()


def test_a_value_addresses_the_first_group_and_the_others_keep_their_ratio() -> None:
    real = optimizer(groups=3)
    rate = LearningRate(real, [part("ExponentialLR", {"gamma": 0.9})], EPOCHS, STEPS_PER_EPOCH)
    rate.step()
    rate.set_value(0.02)
    assert [group["lr"] for group in real.param_groups] == pytest.approx([0.02, 0.002, 0.0002])
    rate.step()
    assert [group["lr"] for group in real.param_groups] == pytest.approx([0.018, 0.0018, 0.00018])


def test_a_value_is_refused_while_the_schedule_stands_at_zero() -> None:
    rate = LearningRate(
        optimizer(), [part("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 2})], 1, 9
    )
    rate.step()
    rate.step()
    with pytest.raises(CommandRejectedError, match="stands at 0"):
        rate.set_value(0.1)


def test_cycled_momentum_is_copied_unscaled() -> None:
    real = optimizer()
    rate = LearningRate(real, [part("OneCycleLR", {"max_lr": 0.5})], EPOCHS, STEPS_PER_EPOCH)
    rate.multiply(0.1)
    rate.step()
    reference = optimizer()
    scheduler = lr_scheduler.OneCycleLR(reference, max_lr=0.5, total_steps=TOTAL)
    reference.step()
    scheduler.step()
    assert real.param_groups[0]["momentum"] == reference.param_groups[0]["momentum"]


def test_parts_follow_one_another_each_from_its_own_beginning() -> None:
    parts = [part("LinearLR", {"start_factor": 0.1}, until=10), part("CosineAnnealingLR", {})]
    rate = LearningRate(optimizer(), parts, EPOCHS, STEPS_PER_EPOCH)
    curve = []
    for _ in range(TOTAL):
        curve.append(rate.current)
        rate.step()
    warm_up = torch_curve("LinearLR", {"start_factor": 0.1, "total_iters": 10}, 10)
    cosine = torch_curve("CosineAnnealingLR", {"T_max": TOTAL - 10}, TOTAL - 10)
    assert curve == pytest.approx(warm_up + cosine, rel=1e-12)


def test_per_step_warm_up_then_per_epoch_decay() -> None:
    parts = [
        part("LinearLR", {"start_factor": 0.5}, until=25),
        part("StepLR", {"step_size": 1, "gamma": 0.1}, interval="epoch"),
    ]
    rate = LearningRate(optimizer(), parts, EPOCHS, STEPS_PER_EPOCH)
    at_epoch_start = []
    for _ in range(EPOCHS):
        at_epoch_start.append(rate.current)
        for _ in range(STEPS_PER_EPOCH):
            rate.step()
        rate.epoch()
    assert at_epoch_start == pytest.approx([0.05, 0.01, 0.001, 0.0001])


def test_plateau_after_warm_up_goes_by_the_metric_and_keeps_the_scale() -> None:
    parts = [
        part("LinearLR", {"start_factor": 0.5}, until=2),
        part("ReduceLROnPlateau", {"factor": 0.1, "patience": 1}, interval="epoch"),
    ]
    rate = LearningRate(optimizer(), parts, 10, 2)
    rate.multiply(2.0)
    seen = []
    for value in (1.0, 1.0, 1.0, 1.0):
        rate.step()
        rate.step()
        rate.epoch()
        rate.evaluated({"val/loss": value})
        seen.append(rate.current)
    assert seen == pytest.approx([0.2, 0.2, 0.02, 0.02])


@pytest.mark.parametrize(("name", "arguments", "filled_in"), CURVES)
@pytest.mark.filterwarnings("error")
def test_a_state_goes_on_exactly(name: str, arguments: dict[str, Any], filled_in: dict[str, Any]) -> None:
    parts = [part("LinearLR", {"start_factor": 0.1}, until=5), part(name, arguments)]
    first_optimizer, second_optimizer = optimizer(), optimizer()
    first = LearningRate(first_optimizer, parts, EPOCHS, STEPS_PER_EPOCH)
    for _ in range(17):
        first.step()
    first.multiply(0.3)
    second = LearningRate(second_optimizer, parts, EPOCHS, STEPS_PER_EPOCH)
    second.load_state_dict(first.state_dict())
    for _ in range(40):
        for key in ("lr", "momentum"):
            assert second_optimizer.param_groups[0][key] == first_optimizer.param_groups[0][key]
        first.step()
        second.step()


def test_without_a_schedule_the_lr_is_constant_and_can_still_be_changed() -> None:
    real = AdamW([torch.zeros(1, requires_grad=True)], lr=0.01)
    rate = LearningRate(real, [], EPOCHS, STEPS_PER_EPOCH)
    rate.multiply(0.1)
    rate.step()
    rate.epoch()
    assert real.param_groups[0]["lr"] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (part("CosineAnealingLR", {}), "did you mean 'CosineAnnealingLR'"),
        (part("StepLR", {}), "schedule.0.step_size: StepLR needs it"),
        (part("StepLR", {"step_size": 3, "gama": 1}), "takes no argument 'gama', did you mean 'gamma'"),
    ],
)
def test_a_wrong_part_is_one_message(config: ScheduleConfig, message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        LearningRate(optimizer(), [config], EPOCHS, STEPS_PER_EPOCH)
    assert message in str(caught.value)
