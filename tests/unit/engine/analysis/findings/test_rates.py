"""Findings on learning rate, lengths and the machine: each fault has its finding, and a twin has none."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tests.support.findings import CLASSES, IMAGES, by_name, checked, found
from tests.support.specs import trusted_file
from torchconsole.engine.analysis.findings import find, resources
from torchconsole.engine.protocol.reports import Finding

EPOCHS = "training.epochs=30"


def rated(schedule: str, *overrides: str) -> dict[str, Finding]:
    """What is found for a schedule in a run of 30 epochs with 8 steps each."""
    return found(CLASSES, f"schedule=[{schedule}]", EPOCHS, *overrides)


OWN = """
import random
from torch.optim.lr_scheduler import LRScheduler

class Own(LRScheduler):
    def get_lr(self):
        return [self.lr_of(self.last_epoch) for lr in self.base_lrs]

class Short(Own):
    def lr_of(self, epoch):
        return [0.01, 0.01, 0.01, 0.01, 0.02][epoch // 2]

class Falling(Own):
    def lr_of(self, epoch):
        return 0.01 - 0.001 * epoch

class NotFinite(Own):
    def lr_of(self, epoch):
        return 0.01 if epoch < 20 else float("nan")

class Drawing(Own):
    random = random.Random(0)
    def lr_of(self, epoch):
        return self.random.random()

class Sound(Own):
    def lr_of(self, epoch):
        return 0.01 - 0.0001 * epoch
"""


@pytest.mark.parametrize(
    ("name", "found_name", "evidence"),
    [
        ("Short", "schedule-fails", "cannot step: list index out of range ("),
        ("Short", "schedule-fails", "; that is after 10 of 30 epochs"),
        ("Falling", "lr-invalid", "the lr of epoch 12 of 30 is -0.001"),
        ("NotFinite", "lr-invalid", "the lr of epoch 21 of 30 is nan"),
        ("Sound", None, ""),
    ],
)
def test_a_schedule_that_fails_or_gives_a_wrong_lr_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, found_name: str | None, evidence: str
) -> None:
    findings = rated(f"{{name='{trusted_file(tmp_path, monkeypatch, OWN)}:{name}'}}")
    if found_name is None:
        assert not findings
    else:
        assert findings[found_name].level == "error"
        assert evidence in findings[found_name].evidence


def test_a_generator_that_schedules_share_is_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = trusted_file(tmp_path, monkeypatch, OWN)
    done = checked(CLASSES, f"schedule=[{{name='{own}:Drawing'}}]", EPOCHS)
    expected = random.Random(0)
    for _ in range(3):
        assert done.setup.learning_rate.current == expected.random()
        done.setup.learning_rate.epoch()


@pytest.mark.parametrize(
    ("optimizer", "lr", "what"),
    [
        ("Adam", 1.0, "diverges"),
        ("AdamW", 1e-9, "hardly learns"),
        ("SGD", 50.0, "diverges"),
        ("SGD", 1e-8, "hardly learns"),
        ("Adadelta", 0.001, "hardly learns"),
    ],
)
def test_an_unusual_learning_rate(optimizer: str, lr: float, what: str) -> None:
    finding = rated("", f"optimizer={{name='{optimizer}', lr={lr}}}")["lr-unusual"]
    assert finding.level == "warning"
    assert what in finding.reason
    assert "set optimizer.lr = " in finding.remedy


@pytest.mark.parametrize(
    ("optimizer", "lr"), [("Adam", 0.01), ("AdamW", 1e-5), ("SGD", 0.5), ("Adadelta", 1.0)]
)
def test_a_usual_learning_rate_has_no_finding(optimizer: str, lr: float) -> None:
    assert not rated("", f"optimizer={{name='{optimizer}', lr={lr}}}")


def test_a_peak_that_the_schedule_sets() -> None:
    assert "schedule.0.max_lr" in rated("{name='OneCycleLR', max_lr=3.0}")["lr-unusual"].remedy


@pytest.mark.parametrize(
    "schedule",
    [
        "{name='StepLR', step_size=30}",
        "{name='StepLR', step_size=5000, interval='step'}",
        "{name='MultiStepLR', milestones=[40, 60]}",
        "{name='ExponentialLR', gamma=1.0}",
        "{name='ReduceLROnPlateau', patience=40}",
    ],
)
def test_a_schedule_that_never_changes_the_lr(schedule: str) -> None:
    assert rated(schedule)["lr-never-changes"].level == "warning"


@pytest.mark.parametrize(
    "schedule",
    [
        "{name='StepLR', step_size=7, interval='step', gamma=0.1}",
        "{name='ExponentialLR', gamma=0.01}",
        "{name='ExponentialLR', gamma=0.5, interval='step'}",
    ],
)
def test_an_lr_that_vanishes(schedule: str) -> None:
    finding = rated(schedule)["lr-vanishes"]
    assert finding.level == "warning"
    assert ('interval = "epoch"' in finding.remedy) == ("'step'" in schedule)


def test_a_schedule_that_is_longer_than_the_run() -> None:
    finding = rated("{name='CosineAnnealingLR', T_max=100}")["schedule-length"]
    assert finding.evidence == "schedule.0.T_max is 100 epochs, but this part of the schedule lasts 30"
    assert "remove schedule.0.T_max" in finding.remedy


@pytest.mark.parametrize(
    "schedule",
    [
        "{name='CosineAnnealingLR', T_max=10}",
        "{name='PolynomialLR', total_iters=10}",
        "{name='LinearLR', start_factor=0.1, total_iters=50}",
        "{name='OneCycleLR', max_lr=0.01, total_steps=1000}",
        "{name='OneCycleLR', max_lr=0.01, epochs=100, steps_per_epoch=8}",
        "{name='LinearLR', total_iters=5, until=5}, {name='CosineAnnealingLR', T_max=60}",
    ],
)
def test_a_length_that_does_not_fit(schedule: str) -> None:
    assert rated(schedule)["schedule-length"].level == "warning"


def test_a_part_of_the_schedule_that_never_begins() -> None:
    parts = "{{name='LinearLR', interval='{0}', until={1}}}, {{name='CosineAnnealingLR'}}"
    for unit, until in (("step", 240), ("step", 400), ("epoch", 30)):
        finding = rated(parts.format(unit, until))["schedule-never-begins"]
        assert finding.level == "warning"
        assert "schedule.1 (CosineAnnealingLR) never begins" in finding.evidence
        assert finding.remedy.startswith("lower schedule.0.until below ")
    for unit, until in (("step", 100), ("epoch", 29)):
        assert "schedule-never-begins" not in rated(parts.format(unit, until))


@pytest.mark.parametrize(
    "schedule",
    [
        "{name='StepLR', step_size=7}",
        "{name='MultiStepLR', milestones=[10, 40]}",
        "{name='CosineAnnealingLR'}",
        "{name='CosineAnnealingLR', T_max=30}",
        "{name='CosineAnnealingLR', T_max=29}",
        "{name='CosineAnnealingWarmRestarts', T_0=2}",
        "{name='LinearLR', start_factor=0.001, total_iters=5}",
        "{name='LinearLR', total_iters=5, until=5}, {name='CosineAnnealingLR', T_max=25}",
        "{name='OneCycleLR', max_lr=0.01}",
        "{name='PolynomialLR'}",
        "{name='ReduceLROnPlateau', patience=5}",
        "{name='Table', table={1=0.01, 20=0.001}}",
    ],
)
def test_a_schedule_that_fits_has_no_finding(schedule: str) -> None:
    assert not rated(schedule)


PLATEAU = "{name='ReduceLROnPlateau', patience=40}"


def test_the_patience_of_a_chained_plateau() -> None:
    chained = "{{name='ChainedScheduler', schedulers=[{0}, {1}]}}"
    constant = "{name='ConstantLR', factor=1.0, total_iters=1}"
    finding = rated(chained.format(constant, PLATEAU))["lr-never-changes"]
    assert "waits for more than 40 evaluations" in finding.evidence
    assert finding.remedy == "lower schedule.0.schedulers.1.patience below 29"
    other = "{name='StepLR', step_size=10, gamma=0.5}"
    assert not rated(chained.format(other, PLATEAU))
    waits = PLATEAU.replace("40", "5")
    assert not rated(chained.format(constant, waits))
    assert not rated(chained.format(waits, PLATEAU))


def test_the_remedy_for_a_plateau_lets_it_act() -> None:
    assert rated("{name='ReduceLROnPlateau', patience=29}")["lr-never-changes"].remedy.endswith("below 29")
    assert not rated("{name='ReduceLROnPlateau', patience=28}")
    once = rated("{name='ReduceLROnPlateau', patience=0}", "training.eval_every=30")["lr-never-changes"]
    assert once.remedy.startswith("evaluate more often (training.eval_every)")


def test_a_plateau_among_further_parts_has_no_finding() -> None:
    assert not rated("{name='ReduceLROnPlateau', until=10}, {name='CosineAnnealingLR'}")
    assert not rated("{name='ConstantLR', factor=1.0, total_iters=2, until=2}, {name='ReduceLROnPlateau'}")


def test_patience_longer_than_the_run() -> None:
    finding = found(CLASSES, "training.epochs=10", "early_stopping.patience=10")["patience-too-long"]
    assert (finding.level, "has 10 evaluations" in finding.evidence) == ("hint", True)
    assert not found(CLASSES, "training.epochs=10", "early_stopping.patience=9")
    per_step = ["training.eval_interval=step", "training.eval_every=2", "early_stopping.patience=30"]
    assert not found(CLASSES, "training.epochs=10", *per_step)


@pytest.mark.parametrize(
    ("overrides", "level"),
    [
        (["data.batch_size=500", "training.epochs=20"], "warning"),
        (["data.batch_size=500", "training.epochs=200"], "hint"),
        (["data.batch_size=32", "training.grad_accum_steps=8", "training.epochs=20"], "warning"),
    ],
)
def test_a_batch_of_more_than_all_samples(overrides: list[str], level: str) -> None:
    findings = found(CLASSES, *overrides, "early_stopping.patience=5")
    assert [each.level for each in findings.values()] == [level]
    assert not found(CLASSES, "data.batch_size=32", "training.epochs=20", "early_stopping.patience=5")


def _resources(monkeypatch: pytest.MonkeyPatch, num_workers: int, **limits: Any) -> dict[str, Finding]:
    for name, value in limits.items():
        monkeypatch.setattr(resources, name, lambda *arguments, value=value: value)
    augmented = ['data.transforms.train=[{name="ColorJitter", brightness=0.1}]', "data.num_workers=0"]
    done = checked(IMAGES, *augmented)
    data = done.setup.preset.data.model_copy(update={"num_workers": num_workers})
    setup = replace(done.setup, preset=done.setup.preset.model_copy(update={"data": data}))
    return by_name(find(setup, done.dry_run))


def test_more_workers_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = _resources(monkeypatch, 8, usable_cores=2, shared_memory_warning=None)["too-many-workers"]
    assert "this process can use 2 cores" in finding.evidence
    assert not _resources(monkeypatch, 2, usable_cores=2)


def test_shared_memory_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    warning = "2 data loader workers may need 9.0 MiB, but /dev/shm has 1.0 MiB free: enlarge it"
    finding = _resources(monkeypatch, 2, usable_cores=2, shared_memory_warning=warning)[
        "shared-memory-too-small"
    ]
    assert finding.remedy == "enlarge it"


def test_a_step_that_takes_more_memory_than_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    done = checked(CLASSES)
    assert not by_name(done.findings)
    monkeypatch.setattr(resources, "free_bytes", lambda device: 0)
    assert by_name(find(done.setup, done.dry_run))["step-exceeds-memory"].level == "warning"


class Overflowing(nn.Module):
    """Activations beyond what fp16 can hold."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.layer, self.factor = nn.Linear(4, 3), factor

    def forward(self, inputs: Any) -> Any:
        return self.layer(inputs * self.factor) / self.factor


def test_fp16_that_overflows_in_every_step() -> None:
    fp16 = "training.precision=fp16"
    assert found(CLASSES, fp16, model=Overflowing(1e6))["fp16-overflows"].level == "error"
    assert "fp16-overflows" not in found(CLASSES, fp16, model=Overflowing(1.0))
