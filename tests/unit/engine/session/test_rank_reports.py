"""What the leader hears from the other processes of a job."""

from __future__ import annotations

import os

import pytest
import torch
from torch.distributed import HashStore

from torchconsole.engine.protocol.info import StepTimes
from torchconsole.engine.protocol.rank_loads import RankLoad
from torchconsole.engine.session.rank_reports import LoadMeter, Loads, SampledSteps
from torchconsole.engine.training.step_phases import StepPhases


def content(rank: int, at: float) -> str:
    return RankLoad(rank=rank, host="gpu-08", device="cpu", heard=at).model_dump_json()


def test_a_process_is_missing_until_it_is_heard_from_and_then_ages() -> None:
    store, now = HashStore(), [100.0]
    loads = Loads(store, 3, lambda: now[0])
    assert loads.read() == []
    store.set("2", content(2, 5.0))
    (first,) = loads.read()
    assert (first.rank, first.host, first.heard) == (2, "gpu-08", 100.0)
    store.set("1", content(1, 5.0))
    now[0] = 102.0
    assert [(load.rank, load.heard) for load in loads.read()] == [(1, 102.0), (2, 100.0)]
    store.set("2", content(2, 7.0))
    now[0] = 104.0
    assert [(load.rank, load.heard) for load in loads.read()] == [(1, 102.0), (2, 104.0)]


def meter_of(rate: float | None, share: float, **parts: float) -> tuple[LoadMeter, StepPhases]:
    """Return the meter of a process whose steps of 64 samples have these sampled parts."""
    phases = StepPhases(torch.device("cpu"))
    phases.turn(share, rate)
    phases.times = StepTimes(parts=parts) if parts else None
    return LoadMeter(1, torch.device("cpu"), SampledSteps(phases, 64)), phases


def test_a_process_measures_itself_and_the_parts_of_its_steps() -> None:
    sampled = {"data_wait": 9.0, "forward": 0.2, "backward": 0.3, "communication": 7.0, "other": 0.1}
    measured = meter_of(32.0, 0.25, **sampled)[0].measure()
    assert (measured.rank, measured.host, measured.device) == (1, os.uname().nodename, "cpu")
    assert (measured.step_seconds, measured.data_seconds) == (2.0, 0.5)
    assert measured.communication_seconds is not None
    assert round(measured.communication_seconds, 6) == 0.9, "the rest of a step, not that of the samples"
    assert measured.memory_used
    assert measured.memory_total
    assert measured.memory_used < measured.memory_total


def test_the_time_of_a_step_is_that_of_the_mean_speed() -> None:
    meter, phases = meter_of(32.0, 0.0, forward=0.5, communication=1.0, data_wait=0.0)
    meter.measure()
    phases.samples_per_sec = 2.0  # one long step
    assert meter.measure().step_seconds == pytest.approx(64 / 26)


def test_the_figures_stand_still_while_no_step_is_made() -> None:
    meter, phases = meter_of(32.0, 0.0, forward=0.5, communication=1.0, data_wait=0.0)
    meter.measure()
    phases.samples_per_sec = 2.0
    figures = [
        (load.step_seconds, load.data_seconds, load.communication_seconds)
        for load in (meter.measure(), meter.measure(), meter.measure())
    ]
    assert figures[0] == figures[1] == figures[2]


def test_waits_for_others_are_unknown_where_steps_do_not_tell_them() -> None:
    measured = meter_of(32.0, 0.25, data_wait=0.1, forward=0.5, backward=1.0)[0].measure()
    assert (measured.data_seconds, measured.communication_seconds) == (0.5, None)


def test_a_process_that_has_no_times_yet_says_so() -> None:
    for meter, _ in (meter_of(None, 0.0, forward=1.0), meter_of(32.0, 0.0)):
        measured = meter.measure()
        assert measured.step_seconds is measured.data_seconds is measured.communication_seconds is None
