"""The parts of a step: they add up to it, no host waits for them, and they change nothing of the training."""

from __future__ import annotations

import time

import pytest
import torch

from tests.support.sessions import MakeSession, during_step, flat, weights
from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.protocol.info import StepTimes
from torchconsole.engine.training import step_phases
from torchconsole.engine.training.step_phases import StepPhases

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Clock:
    """The time of a simulated host, and of a device that works through what the host gives it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.device = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        clock = self

        class Event:
            def __init__(self, *, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                clock.device = self.at = max(clock.device, clock.now)

            def query(self) -> bool:
                return self.at <= clock.now

            def elapsed_time(self, other: Event) -> float:
                assert self.query(), "reading it would wait for the device"
                return 1000 * (other.at - self.at)

        monkeypatch.setattr(torch.cuda, "Event", Event)

    def compute(self, seconds: float) -> None:
        self.device = max(self.device, self.now) + seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def rounded(times: StepTimes | None) -> dict[str, float]:
    assert times is not None
    return {part: round(seconds, 6) for part, seconds in times.parts.items()}


def test_the_parts_of_a_step_on_the_cpu_add_up_to_it(clock: Clock) -> None:
    phases = StepPhases(CPU, log_every=10)
    phases.start()
    assert phases.due_at == clock.now
    phases.add_logging(0.2)
    phases.turn(0.0)
    for phase, seconds in (("data", 0.5), ("forward", 1), ("backward", 2), ("optimizer", 0.25)):
        clock.now += seconds
        phases.end(phase)
    clock.now += 0.2
    phases.end("logging")
    clock.now += 0.1
    phases.close()
    assert not phases.is_open
    phases.turn(0.25)
    # A quarter of the time is spent waiting for data; a tenth of a logged line belongs to each step.
    busy = 1 + 2 + 0.25 + 0.02 + 0.1
    assert rounded(phases.times) == {
        "data_wait": round(busy / 3, 6), "forward": 1, "backward": 2, "optimizer": 0.25, "other": 0.1,
        "logging": 0.02,
    }  # fmt: skip
    assert phases.due_at == clock.now + step_phases.SAMPLE_SECONDS


def test_batches_of_one_step_are_added(clock: Clock) -> None:
    phases = StepPhases(CPU)
    phases.turn(0.0)
    for phase in ("data", "forward", "backward", "data", "forward", "backward", "optimizer"):
        clock.now += 1
        phases.end(phase)
    phases.close()
    phases.turn(0.0)
    assert rounded(phases.times) == {
        "data_wait": 0, "forward": 2, "backward": 2, "optimizer": 1, "other": 0, "logging": 0,
    }  # fmt: skip


def test_waits_for_other_processes_are_a_part_of_their_own(clock: Clock) -> None:
    class Several(Ranks):
        averages_in_backward = True

    phases = StepPhases(CPU, ranks=Several())
    phases.turn(0.0)
    for phase in ("data", "communication", "forward", "backward", "communication", "optimizer"):
        clock.now += 1
        phases.end(phase)
    phases.close()
    phases.turn(0.0)
    assert rounded(phases.times) == {
        "data_wait": 0, "forward": 1, "backward": 1, "communication": 2, "optimizer": 1, "other": 0,
        "logging": 0,
    }  # fmt: skip


def gpu_step(clock: Clock, phases: StepPhases, load: float, copy: float) -> None:
    """Queue a step whose batch takes `load` on the host and `copy` on the device."""
    phases.turn(0.0)
    clock.now += load
    clock.compute(copy)
    for phase, seconds in (("data", 0), ("forward", 1), ("backward", 2), ("optimizer", 0.5)):
        clock.compute(seconds)
        phases.end(phase)
    phases.close()


@pytest.mark.parametrize("behind", [0.0, 5.0])
@pytest.mark.parametrize("copy", [0.0, 0.75])
def test_a_gpu_is_timed_by_its_own_clock_without_waiting_for_it(
    clock: Clock, behind: float, copy: float
) -> None:
    phases = StepPhases(GPU)
    clock.compute(behind)
    gpu_step(clock, phases, 0.25, copy)
    phases.turn(0.0)
    assert phases.times is None, "the device has not passed the marks"
    clock.now = clock.device
    phases.turn(0.0)
    assert rounded(phases.times) == {
        "data_wait": 0, "transfer": copy, "forward": 1, "backward": 2, "optimizer": 0.5, "other": 0,
        "logging": 0,
    }  # fmt: skip


def test_a_skipped_step_does_not_count(clock: Clock) -> None:
    phases = StepPhases(CPU)
    phases.turn(0.0)
    clock.now += 100
    phases.end("data")
    phases.drop()
    phases.turn(0.0)
    for phase in ("data", "forward", "backward", "optimizer"):
        clock.now += 1
        phases.end(phase)
    phases.close()
    phases.turn(0.0)
    assert rounded(phases.times)["forward"] == 1


def test_other_devices_are_not_measured() -> None:
    phases = StepPhases(torch.device("mps"))
    phases.start()
    assert phases.due_at == float("inf")
    phases.turn(0.0)
    assert not phases.is_open


def test_a_training_is_the_same_with_and_without_samples(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("training.epochs=1", "training.grad_accum_steps=2")
    monkeypatch.setattr(step_phases, "SAMPLE_SECONDS", 0.0)
    sampled = session(*settings)
    sampled.trainer.run()
    plain = session(*settings)
    monkeypatch.setattr(plain.trainer.phases, "start", lambda: None)
    plain.trainer.run()
    assert plain.trainer.phases.times is None
    times = sampled.trainer.phases.times
    assert times is not None
    assert list(times.parts) == ["data_wait", "forward", "backward", "optimizer", "logging", "other"]
    assert all(seconds > 0 for part, seconds in times.parts.items() if part != "data_wait")
    assert sampled.event_queue.losses == plain.event_queue.losses
    assert torch.equal(flat(weights(sampled)), flat(weights(plain)))


def test_each_part_of_a_step_is_marked(session: MakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the end of the step before to the end of the step, so that nothing is left out."""
    monkeypatch.setattr(step_phases, "SAMPLE_SECONDS", 0.0)
    run = session("training.epochs=1", "training.log_every=3", "training.grad_accum_steps=2")
    seen: list[list[str]] = []
    phases = run.trainer.phases
    close = phases.close

    def closed() -> None:
        close()
        seen.append([mark.phase for mark in phases._marks])

    monkeypatch.setattr(phases, "close", closed)
    run.trainer.run()
    batch = ["data", "forward", "backward"]
    ends = [[phase for phase in each if phase not in ("begin", *batch)] for each in seen]
    assert all(each[:4] == ["begin", *batch] for each in seen)
    assert ["optimizer", "other"] in ends
    assert ["optimizer", "logging", "other"] in ends
    assert sum(each.count("data") == each.count("backward") == 2 for each in seen) >= len(seen) - 1


def test_a_step_in_which_the_process_was_stopped_does_not_count(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that logs no line."""
    monkeypatch.setattr(step_phases, "SAMPLE_SECONDS", 0.0)
    run = session("training.max_steps=12", "training.log_every=5")
    counted: list[int] = []
    close = run.trainer.phases.close

    def closed() -> None:
        counted.append(run.state.progress.step)
        close()

    def suspend(step: int) -> None:
        if step == 7:
            run.commands.was_suspended = True

    monkeypatch.setattr(run.trainer.phases, "close", closed)
    during_step(run, suspend)
    run.trainer.run()
    assert {2, 4} & set(counted)
    assert not {7, 8, 9, 10} & set(counted)
    assert {11, 12} & set(counted)
