"""Where the time of a program's steps goes, as one process of several measures it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from torchconsole.engine.library import step_meter
from torchconsole.engine.library.step_meter import SAMPLE_SECONDS, StepMeter
from torchconsole.engine.session.rank_reports import StepParts

CPU = torch.device("cpu")


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Iterator[StepMeter]:
    """A meter that does not see the replicas of other tests, which the jobs that they formed keep."""
    gc.collect()
    others = [each for each in gc.get_objects() if issubclass(type(each), DistributedDataParallel)]
    known = set(map(id, others))
    get_objects = gc.get_objects
    monkeypatch.setattr(
        step_meter.gc, "get_objects", lambda: [each for each in get_objects() if id(each) not in known]
    )
    made = StepMeter()
    yield made
    made.end()


@pytest.fixture
def net(tmp_path: Path) -> Iterator[nn.Module]:
    """A model of a group of one process."""
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield DistributedDataParallel(nn.BatchNorm1d(3))
    dist.destroy_process_group()


def test_steps_are_means_and_those_that_are_left_out_do_not_count(meter: StepMeter) -> None:
    meter.begin(CPU)
    meter.end_step(100.0)  # the first one
    assert meter.read() == StepParts()
    for end, wait in ((102.0, 0.5), (104.0, 1.5)):
        meter.add_wait(wait, 16)
        meter.end_step(end)
    meter.add_wait(60.0, 1600)
    meter.leave_out()  # an evaluation
    meter.end_step(3704.0)
    assert meter.read() == StepParts(2.0, 1.0, None, 16.0)
    assert meter.read() == StepParts(2.0, 1.0, None, 16.0), "no step since"


def test_an_unknown_number_of_samples_is_none(meter: StepMeter) -> None:
    meter.begin(CPU)
    for end in (1.0, 2.0):
        meter.add_wait(0.0, 0)
        meter.end_step(end)
    assert meter.read().samples is None


def test_the_waits_for_gradients_buffers_and_collectives_are_measured(
    meter: StepMeter, net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wait takes a second here: two looks at this clock."""
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    meter.begin(CPU)
    monkeypatch.setattr(step_meter.time, "monotonic", clock)
    meter.end_step(100.0)
    assert meter.is_open
    net(torch.randn(4, 3)).sum().backward()
    dist.all_reduce(torch.ones(1))
    meter.end_step(110.0)
    parts = meter.read()
    assert (parts.step, parts.data, parts.communication) == (10.0, 0.0, 3.0)
    meter.end_step(110.0 + SAMPLE_SECONDS / 2)
    assert not meter.is_open, "until the next sample is due"
    meter.end_step(110.0 + SAMPLE_SECONDS)
    assert meter.is_open


def test_without_a_replica_nothing_is_known_of_the_waits(meter: StepMeter) -> None:
    meter.begin(CPU)
    for end in (1.0, 2.0, 3.0):
        meter.end_step(end)
    assert not meter.is_open
    assert meter.read().communication is None


def test_nothing_is_measured_after_the_end(meter: StepMeter, net: nn.Module) -> None:
    meter.begin(CPU)
    meter.end_step(100.0)
    assert meter.is_open
    meter.end()
    net(torch.randn(4, 3)).sum().backward()
    assert not meter.is_open
