"""What each process of a job does: measured in a thread of each, gathered and reported by the leader's."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

import torch
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed import DistError

from torchconsole.engine.components.devices import describe_device
from torchconsole.engine.protocol.events import RanksMeasured
from torchconsole.engine.protocol.info import StepTimes
from torchconsole.engine.protocol.rank_loads import RankLoad
from torchconsole.engine.session.telemetry import TelemetryProbe
from torchconsole.engine.training.step_phases import StepPhases

SECONDS = 2.0
"""Time between two measurements."""

KEPT = 0.8
"""Weight of the earlier measurements of the speed: a mean is over about ten seconds, as that of the parts."""

STORE = "loads"


class StepParts(NamedTuple):
    """The seconds of a step, and those that it waits for data and for other processes; None if unknown.

    `samples` are those that this process trains on in it.
    """

    step: float | None = None
    data: float | None = None
    communication: float | None = None
    samples: float | None = None


class MeasuresSteps(Protocol):
    """What knows where the time of a step goes."""

    def read(self) -> StepParts:
        """Return what is known now. Called every `SECONDS` by one thread."""


class SampledSteps:
    """The steps of a preset's training, by their sampled `phases`. They take `samples` of all processes.

    Steps are sampled, and the waits of single steps differ much. So the last part is what the process has
    neither computed nor waited for data: computing takes about the same time in each step.
    """

    def __init__(self, phases: StepPhases, samples: int) -> None:
        self._phases = phases
        self._samples = samples
        self._rate: float | None = None
        self._used: tuple[object, ...] = ()
        self._parts = StepParts()

    def read(self) -> StepParts:
        """See `MeasuresSteps`. Returns the same if no step was measured since, as in a pause."""
        measured = self._phases.samples_per_sec, self._phases.times, self._phases.data_wait
        if measured != self._used:
            self._used, self._parts = measured, self._mean(*measured)
        return self._parts

    def _mean(self, rate: float | None, times: StepTimes | None, data_wait: float) -> StepParts:
        if not rate or times is None:
            return StepParts()
        # A mean of speeds, not of times, is what the steps of several seconds have together.
        self._rate = rate if self._rate is None else KEPT * self._rate + (1 - KEPT) * rate
        step = self._samples / self._rate
        data = step * data_wait
        if "communication" not in times.parts:
            return StepParts(step, data)
        waits = times.parts["communication"] + times.parts["data_wait"]
        computing = sum(times.parts.values()) - waits
        return StepParts(step, data, max(0.0, step - data - computing))


class LoadMeter:
    """Measures this process, whose steps are measured by `steps`."""

    def __init__(self, rank: int, device: torch.device, steps: MeasuresSteps) -> None:
        described = describe_device(device)
        own = [gpu for gpu in described.gpus if device == torch.device("cuda", gpu.index)]
        self._rank = rank
        self._device = described.model_copy(update={"gpus": own})
        self._steps = steps
        self._probe = TelemetryProbe()

    def measure(self) -> RankLoad:
        """Measure now."""
        measured = self._probe.measure(self._device)
        gpu = measured.gpu(self._device.device)
        parts = self._steps.read()
        return RankLoad(
            rank=self._rank,
            host=socket.gethostname(),
            device=self._device.device,
            device_name=self._device.name,
            percent=gpu.percent if gpu else measured.process_cpu_percent,
            memory_used=gpu.memory_ours if gpu else measured.process_memory,
            memory_total=gpu.memory_total if gpu else measured.memory_total,
            step_seconds=parts.step,
            data_seconds=parts.data,
            communication_seconds=parts.communication,
            samples=parts.samples,
            heard=time.time(),
        )


class Members(Protocol):
    """The processes of a job."""

    rank: int
    size: int

    def start_thread(self, name: str, work: Callable[[Store, threading.Event], object]) -> None:
        """Start a thread with a client of the store, which ends when the event says that the job does."""


def share_loads(job: Members, meter: LoadMeter, emit: Callable[[RanksMeasured], object]) -> None:
    """Have a thread tell the leader what this process does; the leader's reports what all of them do."""

    def send(store: Store, over: threading.Event) -> None:
        shared = PrefixStore(STORE, store)
        with suppress(DistError):
            while True:
                shared.set(str(job.rank), meter.measure().model_dump_json())
                if over.wait(SECONDS):
                    return

    def report(store: Store, over: threading.Event) -> None:
        loads = Loads(PrefixStore(STORE, store), job.size)
        with suppress(DistError):
            while not over.wait(SECONDS):
                emit(RanksMeasured(ranks=[meter.measure(), *loads.read()]))

    job.start_thread("load", send if job.rank else report)


class Loads:
    """What the leader has heard from the other processes, with the time by its own clock."""

    def __init__(self, store: Store, size: int, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._silent = list(range(1, size))
        self._contents: dict[int, bytes] = {}
        self._loads: dict[int, RankLoad] = {}
        self._clock = clock

    def read(self) -> list[RankLoad]:
        """Return the last load of each process that was heard from. Raises DistError."""
        # A look at a key that is not there yet would wait for it.
        self._silent = [rank for rank in self._silent if not self._has_spoken(rank)]
        ranks = sorted(self._contents)
        contents = self._store.multi_get([str(rank) for rank in ranks]) if ranks else []
        now = self._clock()
        for rank, content in zip(ranks, contents, strict=True):
            if content != self._contents[rank]:
                self._contents[rank] = content
                load = RankLoad.model_validate_json(content)
                self._loads[rank] = load.model_copy(update={"heard": now})
        return [self._loads[rank] for rank in ranks]

    def _has_spoken(self, rank: int) -> bool:
        if not self._store.check([str(rank)]):
            return False
        self._contents[rank] = b""
        return True
