"""A real run: a worker process, unattended and with a console attached, in turns of a few seconds.

Its rate is that of its own metrics.jsonl, from the first to the last line logged in such a window; like the
other arms it evaluates nothing. Between its turns the worker is stopped, so that the others have the machine.
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
from benchmarks.variants import ATTACHED, UNATTENDED, Trained
from benchmarks.workloads import Workload
from torchconsole.engine.client.client import connect
from torchconsole.engine.client.launcher import StartedRun, start_run
from torchconsole.engine.protocol.events import SchedulePlanned
from torchconsole.engine.training.setup import TrainingSetup

MOST_STEPS = 300_000
"""More than a worker can take in all its turns."""

SETTLE = 0.5
"""Seconds that a worker has to find its pace again."""

CONSOLE_SETTLE = 2.5
"""Seconds after a console's first frame in which it loads what it did not need for that."""

READY = b"elapsed"
"""A word of the run screen's first line."""

LEAST_LINES = 8
"""Of a window."""

DEADLINE = 120.0


@dataclass
class Watched:
    """What the console did: share of a core and bytes sent in each window, time to its first frame."""

    cpu_share: list[float] = field(default_factory=list)
    bytes_per_second: list[float] = field(default_factory=list)
    first_frame_seconds: list[float] = field(default_factory=list)


class LiveRun:
    """A worker that trains one workload without end, stopped except in its turns."""

    def __init__(self, started: StartedRun, samples_per_step: float, window: float) -> None:
        self.watched = Watched()
        self._started = started
        self._samples_per_step = samples_per_step
        self._window = window
        self._metrics = _Metrics(started.folder.metrics_file)
        asyncio.run(_await_plan(started))
        started.process.send_signal(signal.SIGSTOP)

    def turn(self, number: int) -> dict[str, Trained]:
        """An unattended and an attached window next to each other, first the one and then the other."""
        self._started.process.send_signal(signal.SIGCONT)
        parts = [(UNATTENDED, self._unattended), (ATTACHED, self._attached)]
        results = {name: measure() for name, measure in (reversed(parts) if number % 2 else parts)}
        self._started.process.send_signal(signal.SIGSTOP)
        return results

    def _unattended(self) -> Trained:
        time.sleep(SETTLE)
        return self._trained(time.sleep)

    def _attached(self) -> Trained:
        with Terminal([PROGRAM, "attach", str(self._started.folder.path)]) as console:
            self.watched.first_frame_seconds.append(console.wait_for(READY))
            console.watch(CONSOLE_SETTLE)
            sent, cpu, begin = console.bytes, console.cpu_seconds(), time.perf_counter()
            trained = self._trained(console.watch)
            took = time.perf_counter() - begin
            self.watched.cpu_share.append((console.cpu_seconds() - cpu) / took)
            self.watched.bytes_per_second.append((console.bytes - sent) / took)
            return trained

    def _trained(self, wait: Callable[[float], None]) -> Trained:
        """From the first to the last line of a window, which is made longer for a training that is slow."""
        self._metrics.mark()
        lines: list[_Line] = []
        deadline = time.monotonic() + DEADLINE
        while len(lines) < LEAST_LINES:
            wait(self._window)
            lines = self._metrics.since_mark()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._started.folder.path}: {len(lines)} lines in {DEADLINE:g} s")
        steps = lines[-1].step - lines[0].step
        return Trained(lines[-1].time - lines[0].time, round(steps * self._samples_per_step), steps, [])


class _Line(NamedTuple):
    """A logged step, and when it was."""

    step: int
    time: float


class _Metrics:
    """The lines of a metrics.jsonl that are logged from some moment on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset, self._begin = 0, 0.0

    def mark(self) -> None:
        """From now on."""
        self._offset, self._begin = self._path.stat().st_size, time.time()

    def since_mark(self) -> list[_Line]:
        """What is in the file by now; a piece of a line at either end is left out."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole = [line for line in file if line.startswith(b"{") and line.endswith(b"\n")]
        facts = [facts for facts in map(json.loads, whole) if facts["kind"] == "train"]
        return [_Line(line["step"], line["time"]) for line in facts if line["time"] >= self._begin]


async def _await_plan(started: StartedRun) -> None:
    """Wait until training has begun and the run has looked ahead at its learning rate.

    It does so once, at its start, at some cost to the training. Raises RuntimeError where it does not train.
    """
    async with asyncio.timeout(DEADLINE), connect(started.folder) as client:
        if client.snapshot.state.schedule is not None:
            return
        async for heard in client.events():
            if isinstance(heard, SchedulePlanned):
                return
    raise RuntimeError(started.folder.log_file.read_text(encoding="utf-8"))


@contextmanager
def live_run(workload: Workload, runs_dir: Path, example: TrainingSetup, window: float) -> Iterator[LiveRun]:
    """Start a worker that trains what `example` does, and end it afterwards; windows of `window` seconds."""
    steps = example.steps_per_epoch
    preset = workload.preset_for(f"training.epochs={MOST_STEPS // steps}", "training.seed=0")
    started = start_run(preset, "bench", runs_dir)
    try:
        yield LiveRun(started, example.data.train.samples_per_epoch / steps, window)
    finally:
        started.process.kill()
        started.process.wait()
