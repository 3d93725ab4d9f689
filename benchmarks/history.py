"""A run of ten million steps: the memory of its history, the cost of an event, and the time to attach.

`python -m benchmarks.history FOLDER LINES` is the worker of such a run. It trains nothing: it logs LINES
lines, spread evenly over the ten million steps, through the same server and files as any run, then waits.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.terminal import PROGRAM, Terminal, temporary_home
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import MetricsLogged, RunStarted
from torchconsole.engine.protocol.messages import WORKER_MESSAGE, encode
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.protocol.run_state import History, RunState, apply
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.session.event_store import combine
from torchconsole.engine.session.server import ServerThread

STEPS = 10_000_000
LINES, QUICK_LINES = 1_000_000, 100_000
"""More points than a history keeps of a series, so that it is thinned out as in any long run."""

LINES_PER_EVENT = 250
"""Lines of an event if 2,500 steps a second are logged and ten events a second are sent."""

METRICS = 3
"""Series in the history."""

EVENTS = 200
FLUSH_EVERY = 1000
"""Lines that the worker logs before it waits until the server has written them."""

LAST_STEP = b"10,000,000"
"""The step in the line above the charts; it is first painted together with the whole curve."""

DEADLINE = 300.0


def figures(*, quick: bool) -> list[Figure]:
    """Memory of the history, cost of an event, and time to attach."""
    lines = QUICK_LINES if quick else LINES
    view = View()
    return [
        Figure("memory of the history of 10 million steps", view.fill(lines) / 1e6, "MB", most=10.0),
        Figure(
            f"decoding and applying an event of {LINES_PER_EVENT} logged steps", 1e3 * view.ingest(), "ms"
        ),
        Figure("time from attach to the whole curve of 10 million steps", attach(lines), "s", most=1.0),
    ]


class View:
    """The state and history of a run, as its worker and each console keep them."""

    def __init__(self) -> None:
        self._state = RunState(name="long", folder="")
        self._history: History = {}

    def fill(self, lines: int) -> int:
        """Apply `lines` logged lines up to the last step; returns the size of the history in bytes."""
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for first in range(1, lines, LINES_PER_EVENT):
            apply(self._state, self._history, _event(first, STEPS // lines))
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return after - before

    def ingest(self) -> float:
        """Median seconds to decode and apply one more event."""
        seconds = []
        for number in range(EVENTS):
            line = encode(_event(STEPS + 1 + number * LINES_PER_EVENT, 1))
            start = time.perf_counter()
            event = WORKER_MESSAGE.validate_json(line)
            if isinstance(event, MetricsLogged):
                apply(self._state, self._history, event)
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)


def attach(lines: int) -> float:
    """Median seconds from the start of `torchconsole attach` to the curve; five times, after a warm-up."""
    with temporary_home() as home, _worker(Path(home), lines) as folder:
        times = []
        for _ in range(6):
            # Narrower screens do not show the step.
            with Terminal([PROGRAM, "attach", str(folder.path)], size=(160, 40)) as screen:
                times.append(screen.wait_for(LAST_STEP))
    return statistics.median(times[1:])


@contextmanager
def _worker(home: Path, lines: int) -> Iterator[RunFolder]:
    """A run whose worker has logged everything; killed on exit."""
    folder = RunFolder.create(home / "runs", "long")
    now = time.time()
    folder.write_record(
        RunRecord(folder.name, str(folder.path), host=socket.gethostname(), created=now, updated=now)
    )
    write_preset(load_preset("digits-mlp"), folder.preset_file)
    worker = subprocess.Popen([sys.executable, "-m", __name__, str(folder.path), str(lines)])
    deadline = time.monotonic() + DEADLINE
    try:
        while folder.load_record().step < STEPS:
            if worker.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the worker did not log all of its {lines:,} lines")
            time.sleep(0.2)
        yield folder
    finally:
        worker.kill()
        worker.wait()


def _event(first: int, every: int) -> MetricsLogged:
    numbers = range(first, first + LINES_PER_EVENT)
    return combine([_point(number * every) for number in numbers], first, first + LINES_PER_EVENT - 1)


def _point(step: int) -> MetricsPoint:
    metrics = {"train/loss": 2.0 / (1 + step % 1000), "lr": 0.1, "samples_per_sec": 5e4}
    return MetricsPoint(step, 1 + step // 1000, time.time(), step * 4e-4, metrics)


class _IgnoreCommands:
    """A command queue that ignores all commands."""

    def put(self, id: str, command: Command, by: str) -> None: ...


def main(path: str, lines: int) -> None:
    """Run the worker process: log all lines, then wait."""
    folder = RunFolder(Path(path))
    WorkerLock(folder.lock_file).acquire()
    server = ServerThread(folder, RunState(name=folder.name, folder=path), _IgnoreCommands())
    server.start()
    server.event_queue.emit(RunStarted(steps_per_epoch=1000, total_epochs=20_000, total_steps=2 * STEPS))
    for first in range(1, lines + 1, FLUSH_EVERY):
        for number in range(first, first + FLUSH_EVERY):
            server.event_queue.log(_point(number * (STEPS // lines)))
        server.event_queue.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
