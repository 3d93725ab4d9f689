"""Profiles some steps with torch.profiler: operations, modules, and memory over time.

Between `start` and `stop`, hooks of torch name the module that runs. They compute nothing, so that the
training is the same as without. The modules of a compiled model are not named: hooks would compile it again.
"""

from __future__ import annotations

import bisect
import itertools
import json
import os
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.profiler import ProfilerActivity, profile, record_function

from torchconsole.engine.components.torch_compat import is_profiling
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.files import write_atomically
from torchconsole.engine.protocol.profile_report import LayerTime, MemoryCurve, OperationTime, ProfileReport
from torchconsole.engine.training.setup import TrainingSetup

COMMUNICATION = "gloo:"
"""How the names of events begin that stand for what gloo does, in threads of its own."""

MODULE, BACKWARD = "module: ", "autograd::engine::evaluate_function: "
"""How the names of events begin that stand for a module, and for a node of the backward pass."""

STEP_END = "end of a step"
"""The name of the events between two steps."""

OUTLIER = 2.0
"""Steps that take more than this many times the median are left out of the figures.

The first profiled step often is one, since the profiler prepares itself in it: 29 ms among steps of 1.5 ms.
"""

MOST_POINTS = 500
"""Points of a memory curve."""

MILLISECOND, MICROSECOND = 1e-3, 1e-6
CUDA_TYPE = 1
"""What the trace calls the device type of CUDA."""


class StepProfile:
    """A profile of the steps between `start` and `stop`."""

    def __init__(self, setup: TrainingSetup) -> None:
        self._setup = setup
        self._on_gpu = setup.device.type == "cuda"
        # torch's profiler prints when it starts and stops, unless this asks for messages of fewer kinds.
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])]
        self._profiler = profile(activities=activities, profile_memory=True)
        self._layers = ModuleRanges(setup.model)
        self._held = 0
        self._ends: list[float] = []
        """When the first step began and each one ended (seconds); on a GPU `_events` tell that."""
        self._events: list[torch.cuda.Event] = []

    def start(self) -> None:
        """Begin; the host waits for a GPU here. Raises TorchconsoleError if the program runs a profiler."""
        if is_profiling():
            raise TorchconsoleError(
                "the program runs a profiler of its own, and torch allows one at a time; try again when that "
                "one has ended"
            )
        self._wait_for_device()
        self._held = 0 if self._on_gpu else held_bytes(self._setup)
        if not self._setup.preset.training.compile:
            self._layers.open()
        try:
            self._profiler.start()
        except Exception:
            self._layers.close()
            raise
        self.end_step()

    def end_step(self) -> None:
        """Note that a step has ended, and that the next one begins."""
        with record_function(STEP_END):
            self._ends.append(time.perf_counter())
            if self._on_gpu:
                event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
                event.record()
                self._events.append(event)

    def stop(self) -> None:
        """End; the host waits for a GPU here. Raises TorchconsoleError if the program ended the profile."""
        self._layers.close()
        self._wait_for_device()
        if not is_profiling():  # to stop a profiler that does not run any more can crash the process
            raise TorchconsoleError(
                "a profiler of the program has ended the profile; try again when the program uses none"
            )
        self._profiler.stop()

    def report(self, first_step: int, trace: Path | None = None) -> ProfileReport:
        """Return the report of one step or more; write the trace for Perfetto to `trace`. Raises OSError."""
        with tempfile.TemporaryDirectory(prefix="torchconsole-") as folder:
            written = Path(folder, "trace.json")
            self._profiler.export_chrome_trace(str(written))
            content = written.read_bytes()
        if trace is not None:
            write_atomically(trace, content)
        found: list[Any] = self._profiler.events() or []  # type: ignore[no-untyped-call]
        durations = self._durations()
        usual = usual_steps(durations)
        steps = len(usual)
        events = _of_steps([event for event in found if event.device_type.name == "CPU"], usual)
        total = sum(self._own_time(event) for event in events) or 1.0
        return ProfileReport(
            device=str(self._setup.device),
            precision=self._setup.precision.name,
            first_step=first_step,
            steps=len(durations),
            left_out=len(durations) - steps,
            batch_size=self._setup.preset.data.batch_size,
            processes=self._setup.ranks.size,
            step_seconds=statistics.fmean(durations[step] for step in usual),
            on_gpu=self._on_gpu,
            operations=self._operations(events, steps, total),
            layers=self._layer_times(events, steps, total),
            memory=_memory(json.loads(content), self._on_gpu, self._held),
            trace=str(trace or ""),
        )

    def _durations(self) -> list[float]:
        """Return how long each step took (seconds)."""
        if self._on_gpu:
            events = itertools.pairwise(self._events)
            return [MILLISECOND * before.elapsed_time(after) for before, after in events]
        return [after - before for before, after in itertools.pairwise(self._ends)]

    def _own_time(self, event: Any) -> float:
        """Return microseconds in an event without those in it; a module's range is no operation."""
        if event.name.startswith(COMMUNICATION):
            return float(event.cpu_time_total)
        if event.name.startswith(MODULE) or event.is_user_annotation:
            return 0.0
        return float(event.self_device_time_total if self._on_gpu else event.self_cpu_time_total)

    def _operations(self, events: list[Any], steps: int, total: float) -> list[OperationTime]:
        own: defaultdict[str, float] = defaultdict(float)
        calls = Counter[str]()
        for event in events:
            if (microseconds := self._own_time(event)) > 0:
                own[event.name.removeprefix(BACKWARD)] += microseconds
                calls[event.name] += 1
        return [
            OperationTime(
                name=name,
                calls=(calls[name] or calls[BACKWARD + name]) / steps,
                seconds=MICROSECOND * microseconds / steps,
                share=microseconds / total,
            )
            for name, microseconds in _longest(own)
        ]

    def _layer_times(self, events: list[Any], steps: int, total: float) -> list[LayerTime]:
        forward: defaultdict[str, float] = defaultdict(float)
        backward: defaultdict[str, float] = defaultdict(float)
        module_of: dict[int, str] = {}
        for event in events:
            module = _module_around(event)
            if module is not None:
                forward[module] += self._own_time(event)
                if event.sequence_nr >= 0:
                    # An operation that makes no node of the graph has the number of the next one that does.
                    module_of[event.sequence_nr] = module
        for event in events:
            if event.name.startswith(BACKWARD) and (module := module_of.get(event.sequence_nr)) is not None:
                backward[module] += event.device_time_total if self._on_gpu else event.cpu_time_total
        both = {name: forward[name] + backward[name] for name in forward | backward}
        scale = MICROSECOND / steps
        types = {name: type(module).__name__ for name, module in self._setup.model.named_modules()}
        return [
            LayerTime(
                name=name,
                type=types.get(name, ""),
                forward=scale * forward[name],
                backward=scale * backward[name],
                share=microseconds / total,
            )
            for name, microseconds in _longest(both)
        ]

    def _wait_for_device(self) -> None:
        if self._on_gpu:
            torch.cuda.synchronize(self._setup.device)


class ModuleRanges:
    """Names in a profile which module of a model runs, from `open` to `close`."""

    def __init__(self, model: nn.Module) -> None:
        self._names = {id(module): name for name, module in model.named_modules()}
        self._handles: list[Any] = []
        self._inside: list[tuple[int, record_function]] = []

    def open(self) -> None:
        """Register the hooks, of which torch has no other kind for all modules."""
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if (name := self._names.get(id(module))) is not None:
            entered = record_function(MODULE + name)
            entered.__enter__()  # type: ignore[no-untyped-call]
            self._inside.append((id(module), entered))

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if self._inside and self._inside[-1][0] == id(module):
            self._inside.pop()[1].__exit__(None, None, None)


def usual_steps(durations: Sequence[float]) -> list[int]:
    """Return the places of the steps that are no outliers."""
    limit = OUTLIER * statistics.median(durations)
    return [step for step, seconds in enumerate(durations) if seconds <= limit]


def _of_steps(events: list[Any], steps: Collection[int]) -> list[Any]:
    """Return the events of some steps. A step's events begin after the end of the step before it."""
    ends = sorted(event.time_range.start for event in events if event.name == STEP_END)
    wanted = {step + 1 for step in steps}
    return [event for event in events if bisect.bisect(ends, event.time_range.start) in wanted]


def held_bytes(setup: TrainingSetup) -> int:
    """Return the bytes of weights, buffers and the optimizer's state."""
    states = setup.optimizer.state.values()
    state = [value for values in states for value in values.values() if isinstance(value, Tensor)]
    kept = [*setup.model.parameters(), *setup.model.buffers(), *state]
    return sum(tensor.numel() * tensor.element_size() for tensor in kept)


def _longest(times: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(((name, time) for name, time in times.items() if time > 0), key=lambda item: -item[1])


def _module_around(event: Any) -> str | None:
    """Return the innermost module that an operation of the forward pass runs in."""
    around = event
    while around is not None and not around.name.startswith(MODULE):
        around = around.cpu_parent
    return None if around is None else str(around.name.removeprefix(MODULE))


def _memory(trace: dict[str, Any], on_gpu: bool, held: int) -> MemoryCurve | None:
    """Return the memory over time; None if the trace has none.

    torch counts the CPU's from the start of the profile on, in addition to what was `held` then.
    """
    points = sorted(
        (
            float(event["ts"]),
            held + int(event["args"]["Total Allocated"]),
            int(event["args"]["Total Reserved"]),
        )
        for event in trace["traceEvents"]
        if event.get("name") == "[memory]" and (event["args"]["Device Type"] == CUDA_TYPE) == on_gpu
    )
    if not points:
        return None
    thinned = list(_highest(points))
    begin = points[0][0]
    return MemoryCurve(
        seconds=[MICROSECOND * (at - begin) for at, _ in thinned],
        allocated=[max(0, size) for _, size in thinned],
        peak=max(0, *(size for _, size, _ in points)),
        reserved=max(reserved for _, _, reserved in points) if on_gpu else None,
    )


def _highest(points: list[tuple[float, int, int]]) -> Iterator[tuple[float, int]]:
    """Yield at most MOST_POINTS points: the highest of as many spans of time."""
    begin, span = points[0][0], (points[-1][0] - points[0][0]) or 1.0
    highest: dict[int, tuple[float, int]] = {}
    for at, size, _ in points:
        number = min(MOST_POINTS - 1, int(MOST_POINTS * (at - begin) / span))
        if number not in highest or size > highest[number][1]:
            highest[number] = at, size
    yield from highest.values()
