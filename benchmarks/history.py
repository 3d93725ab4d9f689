"""The curve of a run of ten million steps: its memory, what an event of it costs, and attaching to it.

`python -m benchmarks.history FOLDER LINES` is the worker of such a run. It trains nothing: it logs LINES
lines, evenly over the ten million steps, by way of server, files and history as any run does, and waits.
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
from benchmarks.terminal import PROGRAM, Terminal, own_home
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import MetricsLogged, RunStarted
from torchconsole.engine.protocol.messages import WORKER_MESSAGE, encode
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.protocol.run_state import History, RunState, apply
from torchconsole.engine.run.folder import RunFolder, RunRecord
from torchconsole.engine.run.liveness import WorkerLock
from torchconsole.engine.session.metrics_coalescing import batch
from torchconsole.engine.session.server import ServerThread

STEPS = 10_000_000
LINES, QUICK_LINES = 1_000_000, 100_000
"""More than a history keeps of a series, so that it is thinned out as that of any longer run."""

IN_FLOW = 250
"""Lines of an event where 2,500 steps a second are logged and ten events a second go out."""

INGESTED = 200
AT_ONCE = 1000
"""Lines that the worker logs before it waits for the server to have written them."""

SHOWN = b"10,000,000"
"""The step, in the line above the charts, whose first painting is that of the whole curve."""

DEADLINE = 300.0


def figures(*, quick: bool) -> list[Figure]:
    """Memory, ingest, attach."""
    lines = QUICK_LINES if quick else LINES
    view = View()
    return [
        Figure("the history of 10 million steps", view.fill(lines) / 1e6, "MB", most=10.0),
        Figure(f"reading and folding in an event of {IN_FLOW} logged steps", 1e3 * view.ingest(), "ms"),
        Figure("from attach to the whole curve of 10 million steps", attach(lines), "s", most=1.0),
    ]


class View:
    """The state and history of one run, as its worker and each console have them."""

    def __init__(self) -> None:
        self._state = RunState(name="long", folder="")
        self._history: History = {}

    def fill(self, lines: int) -> int:
        """Fold in so many lines up to the last step; returns the bytes that the history takes then."""
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for first in range(1, lines, IN_FLOW):
            apply(self._state, self._history, _event(first, STEPS // lines))
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return after - before

    def ingest(self) -> float:
        """Median seconds to read an event that goes on from there, and to fold it in."""
        seconds = []
        for number in range(INGESTED):
            line = encode(_event(STEPS + 1 + number * IN_FLOW, 1))
            begin = time.perf_counter()
            event = WORKER_MESSAGE.validate_json(line)
            if isinstance(event, MetricsLogged):
                apply(self._state, self._history, event)
            seconds.append(time.perf_counter() - begin)
        return statistics.median(seconds)


def attach(lines: int) -> float:
    """Median seconds from the start of `torchconsole attach` to the curve, of five after a first one."""
    with own_home() as home, _worker(Path(home), lines) as folder:
        times = []
        for _ in range(6):
            with Terminal([PROGRAM, "attach", str(folder.path)]) as screen:
                times.append(screen.wait_for(SHOWN))
    return statistics.median(times[1:])


@contextmanager
def _worker(home: Path, lines: int) -> Iterator[RunFolder]:
    """A run whose worker has logged everything."""
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
                raise RuntimeError(f"the worker of {lines:,} lines has not logged them all")
            time.sleep(0.2)
        yield folder
    finally:
        worker.kill()
        worker.wait()


def _event(first: int, every: int) -> MetricsLogged:
    numbers = range(first, first + IN_FLOW)
    return batch([_point(number * every) for number in numbers], first, first + IN_FLOW - 1)


def _point(step: int) -> MetricsPoint:
    metrics = {"train/loss": 2.0 / (1 + step % 1000), "lr": 0.1, "samples_per_sec": 5e4}
    return MetricsPoint(step, 1 + step // 1000, time.time(), step * 4e-4, metrics)


class _Deaf:
    """Takes commands and obeys none."""

    def put(self, id: str, command: Command, by: str) -> None: ...


def main(path: str, lines: int) -> None:
    """The worker's process: log at the pace of a busy training, then stand still."""
    folder = RunFolder(Path(path))
    WorkerLock(folder.lock_file).acquire()
    server = ServerThread(folder, RunState(name=folder.name, folder=path), _Deaf())
    server.start()
    server.event_queue.emit(RunStarted(steps_per_epoch=1000, total_epochs=20_000, total_steps=2 * STEPS))
    for first in range(1, lines + 1, AT_ONCE):
        for number in range(first, first + AT_ONCE):
            server.event_queue.log(_point(number * (STEPS // lines)))
        server.event_queue.settle()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
