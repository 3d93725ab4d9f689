"""A real run: a worker process, unattended and with a console attached, in windows of a few seconds.

Its rate comes from its metrics.jsonl, from the first to the last line logged in a window. Like the other
variants it does not evaluate. Between its turns the worker is suspended, so that the others have the machine.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.terminal import PROGRAM, Terminal
from benchmarks.variants import ATTACHED, UNATTENDED, TrainingResult
from benchmarks.workloads import Workload
from torchconsole.engine.client.client import connect
from torchconsole.engine.client.launcher import StartedRun, start_run
from torchconsole.engine.protocol.events import SchedulePlanned
from torchconsole.engine.training.parts import TrainingParts

MAX_STEPS = 300_000
"""More than a worker can train in all its turns."""

WARM_UP = 0.5
"""Seconds for a worker to get up to speed again."""

CONSOLE_WARM_UP = 2.5
"""Seconds after the first frame in which the console loads what the frame did not need."""

READY = b"elapsed"
"""A word in the first line of the run screen."""

MIN_LINES = 8
"""Smallest number of logged lines in a window."""

DEADLINE = 120.0


@dataclass
class ConsoleCosts:
    """CPU use (share of a core) and bytes sent in each window, and the time to each first frame."""

    cpu_share: list[float] = field(default_factory=list)
    bytes_per_second: list[float] = field(default_factory=list)
    first_frame_seconds: list[float] = field(default_factory=list)


class LiveRun:
    """A worker that trains one workload, suspended except during its turns."""

    def __init__(self, started: StartedRun, samples_per_step: float, window: float) -> None:
        self.console_costs = ConsoleCosts()
        self._started = started
        self._samples_per_step = samples_per_step
        self._window = window
        self._metrics = _Metrics(started.folder.metrics_file)
        asyncio.run(_wait_for_schedule(started))
        started.process.send_signal(signal.SIGSTOP)

    def turn(self, number: int) -> dict[str, TrainingResult]:
        """Measure an unattended and an attached window; the order alternates with `number`."""
        self._started.process.send_signal(signal.SIGCONT)
        windows = [(UNATTENDED, self._unattended), (ATTACHED, self._attached)]
        results = {name: measure() for name, measure in (reversed(windows) if number % 2 else windows)}
        self._started.process.send_signal(signal.SIGSTOP)
        return results

    def _unattended(self) -> TrainingResult:
        time.sleep(WARM_UP)
        return self._measure(time.sleep)

    def _attached(self) -> TrainingResult:
        with Terminal([PROGRAM, "attach", str(self._started.folder.path)]) as console:
            self.console_costs.first_frame_seconds.append(console.wait_for(READY))
            console.watch(CONSOLE_WARM_UP)
            sent, cpu, start = console.bytes, console.cpu_seconds(), time.perf_counter()
            result = self._measure(console.watch)
            took = time.perf_counter() - start
            self.console_costs.cpu_share.append((console.cpu_seconds() - cpu) / took)
            self.console_costs.bytes_per_second.append((console.bytes - sent) / took)
            return result

    def _measure(self, wait: Callable[[float], None]) -> TrainingResult:
        """Measure from the first to the last line of a window; a slow training gets a longer window."""
        self._metrics.mark()
        lines: list[_Line] = []
        deadline = time.monotonic() + DEADLINE
        while len(lines) < MIN_LINES:
            wait(self._window)
            lines = self._metrics.since_mark()
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{self._started.folder.path}: only {len(lines)} lines logged in {DEADLINE:g} s"
                )
        steps = lines[-1].step - lines[0].step
        return TrainingResult(
            lines[-1].time - lines[0].time, round(steps * self._samples_per_step), steps, []
        )


class _Line(NamedTuple):
    """A logged step and its time."""

    step: int
    time: float


class _Metrics:
    """Reads the lines that are appended to a metrics.jsonl after a mark."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset, self._marked_at = 0, 0.0

    def mark(self) -> None:
        """Set the mark to now."""
        self._offset, self._marked_at = self._path.stat().st_size, time.time()

    def since_mark(self) -> list[_Line]:
        """The training lines logged since the mark; an incomplete line at either end is skipped."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            complete = [line for line in file if line.startswith(b"{") and line.endswith(b"\n")]
        records = [record for record in map(json.loads, complete) if record["kind"] == "train"]
        return [_Line(line["step"], line["time"]) for line in records if line["time"] >= self._marked_at]


async def _wait_for_schedule(started: StartedRun) -> None:
    """Wait until the run has started and computed its lr forecast, which slows its first steps down.

    Raises RuntimeError if it does not train.
    """
    async with asyncio.timeout(DEADLINE), connect(started.folder) as client:
        if client.snapshot.state.schedule is not None:
            return
        async for event in client.events():
            if isinstance(event, SchedulePlanned):
                return
    raise RuntimeError(started.folder.log_file.read_text(encoding="utf-8"))


@contextmanager
def live_run(workload: Workload, runs_dir: Path, example: TrainingParts, window: float) -> Iterator[LiveRun]:
    """A worker that trains the same as `example`, killed on exit; `window` is in seconds."""
    steps = example.steps_per_epoch
    preset = workload.preset_for(f"training.epochs={MAX_STEPS // steps}", "training.seed=0")
    started = start_run(preset, "bench", runs_dir)
    try:
        yield LiveRun(started, example.data.train.samples_per_epoch / steps, window)
    finally:
        started.process.kill()
        started.process.wait()
