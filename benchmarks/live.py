"""A real run: a worker process, unattended and with a console attached, in turns of a few seconds.

Its rate is that of its own metrics.jsonl, from the first to the last line logged in such a window; like the
other arms it evaluates nothing. Between its turns the worker is stopped, so that the others have the machine.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.arms import ATTACHED, UNATTENDED, Trained
from benchmarks.terminal import PROGRAM, Terminal
from benchmarks.workloads import Workload
from torchconsole.engine.runtime.launcher import StartedRun, start_run

ENDLESS = ("training.epochs=1000000", "training.seed=0")
SETTLE = 0.5
"""Seconds that a worker has to find its pace again."""

CONSOLE_SETTLE = 2.5
"""Seconds after a console's first frame in which it loads what it did not need for that."""

READY = b"elapsed"
"""A word of the run screen's first line."""

FLUSHED = 0.5
"""Seconds after which a logged line is in the file."""

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
        self._metrics.await_line(started)
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
        begin = time.time()
        time.sleep(self._window)
        return self._trained(begin, time.time())

    def _attached(self) -> Trained:
        with Terminal([PROGRAM, "attach", str(self._started.folder.path)]) as console:
            self.watched.first_frame_seconds.append(console.wait_for(READY))
            console.watch(CONSOLE_SETTLE)
            sent, cpu, begin = console.bytes, console.cpu_seconds(), time.time()
            console.watch(self._window)
            end = time.time()
            self.watched.cpu_share.append((console.cpu_seconds() - cpu) / (end - begin))
            self.watched.bytes_per_second.append((console.bytes - sent) / (end - begin))
            return self._trained(begin, end)

    def _trained(self, begin: float, end: float) -> Trained:
        time.sleep(FLUSHED)
        steps, seconds = self._metrics.between(begin, end)
        return Trained(seconds, round(steps * self._samples_per_step), steps, [])


class _Metrics:
    """The lines of a metrics.jsonl that were logged in some time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def await_line(self, started: StartedRun) -> None:
        """Wait until training has begun. Raises RuntimeError where it does not."""
        deadline = time.monotonic() + DEADLINE
        while not (self._path.exists() and b"train/loss" in self._path.read_bytes()):
            if started.exit_reason() or time.monotonic() > deadline:
                raise RuntimeError(started.folder.log_file.read_text(encoding="utf-8"))
            time.sleep(0.1)

    def between(self, begin: float, end: float) -> tuple[int, float]:
        """Steps and seconds from the first to the last line logged in this time. Raises RuntimeError."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        self._offset += text.rfind(b"\n") + 1
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]
        logged = [line for line in lines if line["kind"] == "train" and begin <= line["time"] <= end]
        if len(logged) < 2:
            raise RuntimeError(f"{len(logged)} lines in {end - begin:.1f} s: the window is too short")
        first, last = logged[0], logged[-1]
        return last["step"] - first["step"], last["time"] - first["time"]


@contextmanager
def live_run(workload: Workload, runs_dir: Path, samples_per_step: float, window: float) -> Iterator[LiveRun]:
    """Start a worker for `workload` and end it afterwards; windows are `window` seconds long."""
    started = start_run(workload.preset_for(*ENDLESS), "bench", runs_dir)
    try:
        yield LiveRun(started, samples_per_step, window)
    finally:
        started.process.kill()
        started.process.wait()
