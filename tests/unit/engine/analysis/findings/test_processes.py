"""Findings on a training by several processes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.findings import AMOUNTS, CLASSES, IMAGES, Findings, by_name, checked, found
from torchconsole.engine.analysis.findings import find, processes, resources
from torchconsole.engine.analysis.findings.processes import find_in_processes
from torchconsole.engine.components.torchvision_compat import prepare_torchvision
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.training.setup import TrainingSetup

TWO = "distributed.processes=2"


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 8 cores."""
    for module in (processes, resources):
        monkeypatch.setattr(module, "usable_cores", lambda: 8)


def of(setup: TrainingSetup, **changes: Any) -> Findings:
    """Return the findings on the processes of a setup, parts of which are replaced."""
    return by_name(list(find_in_processes(replace(setup, **changes))))


def test_settings_of_several_processes_in_a_training_by_one() -> None:
    finding = found(CLASSES, "distributed.lr_scaling=linear")["settings-of-several-processes"]
    assert finding.evidence == "distributed.lr_scaling is set, but one process trains"
    assert not found(CLASSES)
    setup = checked(CLASSES, "distributed.lr_scaling=linear").setup
    assert not of(setup, from_checkpoint=True)  # a resume: several may have trained the run


def test_the_lr_and_the_batch_are_those_of_all_processes() -> None:
    done = checked(CLASSES, TWO, "distributed.lr_scaling=linear", "data.batch_size=80")
    alone = checked(CLASSES).setup.learning_rate.current
    assert done.setup.learning_rate.current == pytest.approx(2 * alone)
    assert done.setup.effective_batch == 160
    evidence = by_name(done.findings)["batch-holds-all"].evidence
    assert evidence.startswith("data.batch_size 80 times 2 processes is more than the 120 training samples")


def test_what_cannot_be_sharded_is_refused_where_several_processes_train() -> None:
    changes = ('distributed.strategy="fsdp"', "training.channels_last=true")
    with pytest.raises(ComponentError, match="torch shards contiguous weights only"):
        checked(IMAGES, TWO, *changes)
    assert checked(IMAGES, *changes).setup.ranks.is_alone


@pytest.mark.parametrize(("size", "level"), [(16, None), (8, "hint"), (1, "warning")])
def test_batch_norm_over_few_samples(size: int, level: str | None) -> None:
    setup = checked(IMAGES, TWO, "data.batch_size=16").setup
    data = setup.preset.data.model_copy(update={"batch_size": size})
    finding = of(setup, preset=setup.preset.model_copy(update={"data": data})).get("few-samples-per-process")
    assert (finding and finding.level) == level
    if finding is not None:
        assert finding.evidence.startswith(f"data.batch_size is {size} in each of 2 processes")
        assert "sync_batchnorm" not in finding.remedy  # the CPU has none


def test_an_lr_in_the_schedule_is_not_scaled() -> None:
    finding = found(AMOUNTS, TWO, "distributed.lr_scaling=sqrt")["lr-not-scaled"]
    assert "set schedule.0.max_lr to the lr" in finding.remedy


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = checked(CLASSES, "distributed.processes=3").setup
    assert not of(setup)
    training = setup.preset.training.model_copy(update={"threads": 4})
    finding = of(setup, preset=setup.preset.model_copy(update={"training": training}))["too-many-threads"]
    assert finding.remedy == 'set training.threads = 2, or "auto"'
    monkeypatch.setattr(processes, "usable_cores", lambda: 2)
    assert of(setup)["more-processes-than-cores"].remedy == "start at most 2 with --nproc"


def test_workers_of_all_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    done = checked(IMAGES, TWO, "data.in_memory=false", "data.num_workers=0")
    data = done.setup.preset.data.model_copy(update={"num_workers": 5})
    setup = replace(done.setup, preset=done.setup.preset.model_copy(update={"data": data}))
    monkeypatch.setattr(resources, "shared_memory_warning", lambda *arguments: None)
    finding = by_name(find(setup, done.dry_run))["too-many-workers"]
    assert finding.evidence == "data.num_workers is 5 in each of 2 processes, but they can use 8 cores"
    assert finding.remedy == 'set data.num_workers = 3, or "auto"'


def test_processes_share_the_memory_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    done = checked(CLASSES, TWO)
    assert done.dry_run.memory_bytes is not None
    own = sum(tensor.nbytes for tensor in (*done.setup.model.parameters(), *done.setup.model.buffers()))
    monkeypatch.setattr(resources, "free_bytes", lambda device: int(1.5 * done.dry_run.memory_bytes) - own)
    assert "in each of 2 processes" in by_name(find(done.setup, done.dry_run))["step-exceeds-memory"].evidence


def test_each_process_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = checked(CLASSES, TWO).setup
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    finding = of(setup, device=torch.device("cuda"))["more-processes-than-gpus"]
    assert (finding.level, "at most 1 with" in finding.remedy) == ("error", True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert not of(setup, device=torch.device("cuda"))
    training = setup.preset.training.model_copy(update={"device": "cuda:1"})
    preset = setup.preset.model_copy(update={"training": training})
    assert "device-number-ignored" in of(setup, device=torch.device("cuda"), preset=preset)
    assert "processes-on-mps" in of(setup, device=torch.device("mps"))


def test_a_metric_that_does_not_say_how_processes_add_up() -> None:
    prepare_torchvision()
    from torchmetrics import Metric
    from torchmetrics.regression import PearsonCorrCoef

    class Sum(Metric):
        def __init__(self, reduce: str | None) -> None:
            super().__init__()
            self.add_state("seen", torch.zeros(()), dist_reduce_fx=reduce)

        def update(self, predictions: Tensor, targets: Tensor) -> None:
            self.seen += len(targets)

        def compute(self) -> Tensor:
            return self.seen

    setup = checked(CLASSES, TWO).setup
    metrics: Any = SimpleNamespace(by_key={"own": Sum(None), "whole": Sum("sum"), "r": PearsonCorrCoef()})
    finding = of(setup, metrics=metrics)["metric-cannot-be-shared"]
    assert finding.evidence == "the state seen of the metric own has no dist_reduce_fx"
