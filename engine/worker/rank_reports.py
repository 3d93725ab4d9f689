"""What each process of a job does: measured in a thread of each, gathered and reported by the leader's."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import torch
from torch._C._distributed_c10d import Store
from torch.distributed import DistError

from torchconsole.engine.components.devices import describe_device
from torchconsole.engine.distributed.job import Job
from torchconsole.engine.protocol.events import RanksMeasured
from torchconsole.engine.protocol.rank_loads import RankLoad
from torchconsole.engine.session.telemetry import TelemetryProbe
from torchconsole.engine.training.step_phases import StepPhases

SECONDS = 2.0
"""Time between two measurements."""

KEPT = 0.8
"""Weight of the earlier measurements of the speed: a mean is over about ten seconds, as that of the parts."""

STORE = "loads"


class LoadMeter:
    """Measures this process. `phases` are those of its steps, which take `samples` of all processes."""

    def __init__(self, rank: int, device: torch.device, phases: StepPhases, samples: int) -> None:
        described = describe_device(device)
        own = [gpu for gpu in described.gpus if device == torch.device("cuda", gpu.index)]
        self._rank = rank
        self._device = described.model_copy(update={"gpus": own})
        self._phases = phases
        self._samples = samples
        self._rate: float | None = None
        self._probe = TelemetryProbe()

    def measure(self) -> RankLoad:
        """Measure now."""
        measured = self._probe.measure(self._device)
        gpu = measured.gpu(self._device.device)
        step, data, communication = self._parts_of_step()
        return RankLoad(
            rank=self._rank,
            host=socket.gethostname(),
            device=self._device.device,
            device_name=self._device.name,
            percent=gpu.percent if gpu else measured.process_cpu_percent,
            memory_used=gpu.memory_ours if gpu else measured.process_memory,
            memory_total=gpu.memory_total if gpu else measured.memory_total,
            step_seconds=step,
            data_seconds=data,
            communication_seconds=communication,
            heard=time.time(),
        )

    def _parts_of_step(self) -> tuple[float | None, float | None, float | None]:
        """Return how long a step takes, and of that the waits for data and for other processes.

        Steps are sampled, and the waits of single steps differ much. So the last part is what the process has
        neither computed nor waited for data: computing takes about the same time in each step.
        """
        rate, times = self._phases.samples_per_sec, self._phases.times
        if not rate or times is None:
            return None, None, None
        # A mean of speeds, not of times, is what the steps of several seconds have together.
        self._rate = rate if self._rate is None else KEPT * self._rate + (1 - KEPT) * rate
        step = self._samples / self._rate
        data = step * self._phases.data_wait
        if "communication" not in times.parts:
            return step, data, None
        waits = times.parts["communication"] + times.parts["data_wait"]
        computing = sum(times.parts.values()) - waits
        return step, data, max(0.0, step - data - computing)


def send_loads(job: Job, meter: LoadMeter) -> None:
    """Have a thread tell the leader what this process does, until the job's store is gone."""
    store = job.side_channel(STORE)

    def send() -> None:
        with suppress(DistError):
            while True:
                store.set(str(job.rank), meter.measure().model_dump_json())
                time.sleep(SECONDS)

    threading.Thread(target=send, name="torchconsole-load", daemon=True).start()


def report_loads(job: Job, meter: LoadMeter, emit: Callable[[RanksMeasured], None]) -> None:
    """Have a thread of the leader report what all processes do, until the job's store is gone."""
    loads = Loads(job.side_channel(STORE), job.size)

    def report() -> None:
        with suppress(DistError):
            while True:
                time.sleep(SECONDS)
                emit(RanksMeasured(ranks=[meter.measure(), *loads.read()]))

    threading.Thread(target=report, name="torchconsole-load", daemon=True).start()


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
