"""Where the time of a program's steps goes, in one process of several: its data, its work, and the others."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.distributed import Work
from torch.nn.parallel import DistributedDataParallel

from torchconsole.engine.components.torch_compat import SYNC_BUFFERS, call_after_backward
from torchconsole.engine.library.replacement import replace
from torchconsole.engine.session.rank_reports import StepParts

SAMPLE_SECONDS = 0.5
"""Time between two steps whose waits for other processes are measured."""

KEPT_SAMPLES, KEPT_SECONDS = 0.9, 0.8
"""Weights of the earlier samples, and of the earlier steps each time that they are read."""

Totals = tuple[int, float, float, int]
"""Steps, their seconds, the seconds of them without data, and the samples that were read."""


class StepMeter:
    """Measures the steps of a process. The training thread notes them, another thread reads.

    A step is left out in which a pass over data ends, an evaluation reads data, or a command is applied: such
    a step is not like the others. The waits for other processes are those of DistributedDataParallel for
    gradients and buffers, and on the CPU those of the program's own collectives. They are unknown without
    DistributedDataParallel.
    """

    def __init__(self) -> None:
        self.is_open = False
        """Whether the waits for other processes are measured in this step."""
        self._thread = threading.get_ident()
        self._on_gpu = self._has_replica = False
        self._due = self._since = 0.0
        self._is_usual = False
        self._waited, self._samples = 0.0, 0
        self._totals: Totals = (0, 0.0, 0.0, 0)
        self._read: Totals = self._totals
        self._means = [0.0] * len(self._totals)
        self._wait_since: float | torch.cuda.Event | None = None
        self._held = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._sampled = 0.0, 0.0
        """Of the sampled steps: their weight, and the seconds of computing; on a GPU, of communication."""

    def begin(self, device: torch.device) -> None:
        """Begin to measure: the first step is under way. It is left out, being slower than the others."""
        self._on_gpu = device.type == "cuda"
        self._has_replica = any(issubclass(type(each), DistributedDataParallel) for each in gc.get_objects())
        self._since, self._is_usual = time.monotonic(), False
        if self._has_replica:
            _probe(self)

    def end(self) -> None:
        """Measure nothing any more."""
        self.is_open = False
        if _probed and _probed[0] is self:
            _probed.clear()

    def add_wait(self, seconds: float, samples: int) -> None:
        """Note a wait for a batch that this step trains on; 0 samples if their number is not known."""
        self._waited += seconds
        self._samples += samples

    def leave_out(self) -> None:
        """Do not count the present step."""
        self._is_usual = False

    def end_step(self, now: float) -> None:
        """End a step, at this time (time.monotonic)."""
        seconds, waited, is_usual = now - self._since, self._waited, self._is_usual
        if is_usual:
            steps, total, total_waited, samples = self._totals
            self._totals = steps + 1, total + seconds, total_waited + waited, samples + self._samples
        self._since, self._is_usual, self._waited, self._samples = now, True, 0.0, 0
        if self.is_open:
            self.is_open = False
            self._due = now + SAMPLE_SECONDS
            if not is_usual:
                self._events.clear()
            elif not self._on_gpu:
                self._add_sample(max(0.0, seconds - waited - self._held))
        if self._has_replica and now >= self._due and self._is_read():
            self.is_open, self._held, self._wait_since = True, 0.0, None

    def _is_read(self) -> bool:
        """Use the events of the last sample if the device has passed them; the host waits for none."""
        if not self._events:
            return True
        if not self._events[-1][1].query():  # type: ignore[no-untyped-call]
            return False
        self._add_sample(sum(begin.elapsed_time(end) / 1000 for begin, end in self._events))
        self._events.clear()
        return True

    def _add_sample(self, seconds: float) -> None:
        weight, total = self._sampled
        self._sampled = KEPT_SAMPLES * weight + 1, KEPT_SAMPLES * total + seconds

    def begin_wait(self) -> None:
        """Note that everything is computed, and that a wait for other processes begins."""
        if self.is_open and self._wait_since is None:
            self._wait_since = self._mark()

    def end_wait(self) -> None:
        """Note that the wait for other processes is over."""
        begin, self._wait_since = self._wait_since, None
        if begin is None or not self.is_open:
            return
        end = self._mark()
        if isinstance(begin, float) and isinstance(end, float):
            self._held += end - begin
        elif isinstance(begin, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
            self._events.append((begin, end))

    def _mark(self) -> float | torch.cuda.Event:
        if not self._on_gpu:
            return time.monotonic()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    @property
    def waits_in_collectives(self) -> bool:
        """Whether a collective that this thread waits for is measured: on a GPU, the host does not wait."""
        is_apart = self._wait_since is None and not self._on_gpu
        return self.is_open and is_apart and threading.get_ident() == self._thread

    def read(self) -> StepParts:
        """Return the means of the last ten seconds or so."""
        totals, before = self._totals, self._read
        self._read = totals
        if totals[0] == before[0] and not self._means[0]:
            return StepParts()
        if totals[0] > before[0]:
            news = (new - old for new, old in zip(totals, before, strict=True))
            self._means = [KEPT_SECONDS * old + new for old, new in zip(self._means, news, strict=True)]
        steps, seconds, waited, samples = self._means
        step, data = seconds / steps, waited / steps
        return StepParts(step, data, self._communication(step, data), samples / steps if samples else None)

    def _communication(self, step: float, data: float) -> float | None:
        """Return the seconds of a step that are communication.

        On the CPU they are the rest: single waits differ much, and computing takes about the same time.
        """
        weight, total = self._sampled
        if not weight:
            return None
        rest = max(0.0, step - data)
        return min(total / weight, rest) if self._on_gpu else max(0.0, rest - total / weight)


_probed: list[StepMeter] = []
"""What measures the waits of this process, if something does."""


def _probe(meter: StepMeter) -> None:
    """Have this meter learn of waits for other processes from now on."""
    _probed[:] = [meter]
    _install()


@cache
def _install() -> None:
    """Replace the functions of torch that wait; once a process."""
    replace(torch.autograd, "backward", _backward)
    replace(DistributedDataParallel, SYNC_BUFFERS, _sync_buffers)
    replace(Work, "wait", _wait)


def _backward(original: Callable[..., None], tensors: Any, *args: Any, **kwargs: Any) -> None:
    if not (_probed and _probed[0].is_open):
        original(tensors, *args, **kwargs)
        return
    meter = _probed[0]
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if (loss := next((each for each in given if each.grad_fn is not None), None)) is not None:
        call_after_backward(loss, meter.begin_wait)
    try:
        original(given, *args, **kwargs)
    finally:
        meter.end_wait()


def _sync_buffers(original: Callable[..., None], *args: Any) -> None:
    if not (_probed and _probed[0].is_open):
        original(*args)
        return
    _probed[0].begin_wait()
    try:
        original(*args)
    finally:
        if _probed:
            _probed[0].end_wait()


def _wait(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not (_probed and _probed[0].waits_in_collectives):
        return original(*args, **kwargs)
    _probed[0].begin_wait()
    try:
        return original(*args, **kwargs)
    finally:
        if _probed:
            _probed[0].end_wait()
