"""What a schedule counts, what is filled in for it, and schedulers whose factors multiply."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.lr_curves import EPOCHS, STEPS_PER_EPOCH, drive, optimizer
from tests.support.specs import USER_CODE, trusted_file
from torchconsole.engine.components.schedulers import known_schedulers, with_intervals, with_modes
from torchconsole.engine.config.catalogue import Catalogue, check_components
from torchconsole.engine.config.schedule_units import LENGTH_OF, LENGTHS
from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.training.learning_rate import LearningRate

CODE = """
from torch.optim import lr_scheduler
class Own(lr_scheduler.LRScheduler):
    def get_lr(self):
        return [base / (1 + self.last_epoch) for base in self.base_lrs]
class Fitted(Own):
    def __init__(self, optimizer, T_max):
        super().__init__(optimizer)
class Careful(lr_scheduler.ReduceLROnPlateau):
    pass
"""


def parts(*tables: dict[str, Any]) -> list[ScheduleConfig]:
    return [ScheduleConfig.model_validate(table) for table in tables]


def curve(*tables: dict[str, Any], resumed_at: int | None = None) -> list[float]:
    """The lr of each step; the run is interrupted and resumed after one of them."""
    real = optimizer(1)
    rate = LearningRate(real, parts(*tables), EPOCHS, STEPS_PER_EPOCH)
    if resumed_at is None:
        return drive(rate, real, {})[:, 0].tolist()
    rows = drive(rate, real, {}, last=resumed_at)
    later_real = optimizer(1)
    later = LearningRate(later_real, parts(*tables), EPOCHS, STEPS_PER_EPOCH)
    later.load_state_dict(copy.deepcopy(rate.state_dict()))
    return np.concatenate([rows, drive(later, later_real, {}, first=resumed_at + 1)])[:, 0].tolist()


def test_the_lengths_of_torchs_classes_are_known_without_torch() -> None:
    taken = {
        name: [length for length in LENGTHS if length in inspect.signature(cls).parameters]
        for name, cls in known_schedulers().items()
    }
    assert {name: [length] for name, length in LENGTH_OF.items()} == {
        name: lengths for name, lengths in taken.items() if lengths
    }


@pytest.mark.parametrize(
    ("part", "interval"),
    [
        ({"name": "StepLR", "step_size": 7}, "epoch"),
        ({"name": "ExponentialLR", "gamma": 0.9}, "epoch"),
        ({"name": "Table", "table": {"3": 0.1}}, "epoch"),
        ({"name": "ReduceLROnPlateau"}, "epoch"),
        ({"name": "CosineAnnealingWarmRestarts", "T_0": 5}, "epoch"),
        ({"name": "CosineAnnealingLR", "T_max": 10}, "epoch"),
        ({"name": "CosineAnnealingLR"}, "step"),
        ({"name": "LinearLR", "until": 3}, "step"),
        ({"name": "OneCycleLR", "max_lr": 1, "total_steps": 99}, "step"),
        ({"name": "CyclicLR", "base_lr": 0.1, "max_lr": 1}, "step"),
        ({"name": "StepLR", "step_size": 7, "interval": "step"}, "step"),
        ({"name": "OneCycleLR", "max_lr": 1, "interval": "epoch"}, "epoch"),
        ({"name": "CODE:Own"}, "epoch"),
        ({"name": "CODE:Fitted"}, "step"),
        ({"name": "CODE:Fitted", "T_max": 3}, "epoch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_numbers_that_a_preset_states_are_epochs_and_filled_in_lengths_steps(
    part: dict[str, Any], interval: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = str(trusted_file(tmp_path, monkeypatch, CODE))
    [config] = parts(part | {"name": part["name"].replace("CODE", code)})
    [completed] = with_intervals([config], USER_CODE)
    assert completed.interval == interval
    assert config.known_interval in ([interval, None] if "CODE" in part["name"] else [interval])
    assert with_intervals([completed], USER_CODE) == [completed]


def test_each_of_multiplied_schedulers_counts_its_own_unit_unless_the_part_has_one() -> None:
    chained = {
        "name": "ChainedScheduler",
        "schedulers": [{"name": "LinearLR"}, {"name": "StepLR", "step_size": 2}],
    }
    mixed, stated = with_intervals(parts(chained, chained | {"interval": "step"}), USER_CODE)
    assert [member.interval for member in mixed.schedulers] == ["step", "epoch"]
    assert [member.interval for member in stated.schedulers] == ["step", "step"]
    assert (mixed.interval, stated.interval) == ("epoch", "step")


def test_a_plateau_takes_its_mode_from_its_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = str(trusted_file(tmp_path, monkeypatch, CODE))
    plateau = {"name": "ReduceLROnPlateau", "monitor": "val/accuracy"}
    tables = [
        plateau,
        plateau | {"monitor": "val/loss"},
        plateau | {"mode": "min"},
        plateau | {"name": f"{code}:Careful"},
        {"name": "ChainedScheduler", "schedulers": [{"name": "LinearLR"}, plateau]},
    ]
    completed = with_modes(parts(*tables), USER_CODE, lambda monitor: "accuracy" in monitor)
    modes = [[member.arguments.get("mode") for member in part.members.values()] for part in completed]
    assert modes == [["max"], ["min"], ["min"], ["max"], [None, "max"]]


WARM_UP = {"name": "LinearLR", "start_factor": 0.5, "total_iters": 8, "interval": "step"}


@pytest.mark.parametrize(
    "other",
    [
        {"name": "OneCycleLR", "max_lr": 0.5},
        {"name": "CyclicLR", "base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3},
        {"name": "CosineAnnealingWarmRestarts", "T_0": 2},
        {"name": "Table", "table": {"2": 0.3, "5": 0.02}},
        {"name": "StepLR", "step_size": 2},
        {"name": "ReduceLROnPlateau", "patience": 0, "threshold": 0.1},
        {"name": "CODE:Own"},
    ],
    ids=lambda part: part["name"],
)
@pytest.mark.parametrize("first", [True, False])
def test_the_factors_of_any_two_schedulers_multiply_and_resume_exactly(
    other: dict[str, Any], first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of classes that compute the lr anew and so would overwrite the others in torch."""
    code = str(trusted_file(tmp_path, monkeypatch, CODE))
    other = other | {"name": other["name"].replace("CODE", code)}
    chained = {"name": "ChainedScheduler", "schedulers": [other, WARM_UP] if first else [WARM_UP, other]}
    expected = np.array(curve(other)) * np.array(curve(WARM_UP)) / 0.1
    whole = curve(chained)
    assert whole == pytest.approx(expected)
    assert curve(chained, resumed_at=11) == whole


def test_a_part_that_takes_over_at_the_end_of_an_epoch_has_its_whole_first_epoch() -> None:
    lrs = curve(
        WARM_UP | {"until": 8}, {"name": "LinearLR", "interval": "epoch", "start_factor": 1, "end_factor": 0}
    )
    assert lrs[8::STEPS_PER_EPOCH] == pytest.approx([0.1, 0.075, 0.05, 0.025])


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"name": "StepLR"}, "schedule.0.schedulers.0.step_size: StepLR requires this"),
        ({"name": "ChainedScheduler"}, "schedule.0.schedulers.0.name: ChainedScheduler cannot be used"),
        ({"name": "LinearLR", "until": 3}, "schedule.0.schedulers.0.until: LinearLR takes no argument"),
    ],
)
def test_a_mistake_in_multiplied_schedulers_is_named(
    member: dict[str, Any], message: str, catalogue: Catalogue
) -> None:
    chained = {"name": "ChainedScheduler", "schedulers": [member]}
    with pytest.raises(ComponentError) as caught:
        curve(chained)
    assert message in str(caught.value)
    assert any(message in line for line in check_components({"schedule": [chained]}, catalogue))


def test_an_argument_beside_multiplied_schedulers_is_refused() -> None:
    with pytest.raises(ComponentError, match=r"schedule\.0\.gamma: ChainedScheduler takes no such argument"):
        curve({"name": "ChainedScheduler", "gamma": 1, "schedulers": [{"name": "LinearLR"}]})
