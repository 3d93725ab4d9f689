"""What the console costs at given speeds of logging, and how it answers over a slow line.

`python -m benchmarks.screen` prints the figures; `python -m benchmarks --figures` writes them into
docs/figures.md. `python -m benchmarks.screen FOLDER RATE METRICS` is the worker that they watch: it trains
nothing, and logs RATE steps a second with METRICS metrics through the same server and files as any run.
"""

from __future__ import annotations

import math
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import charts, history
from benchmarks.console import MENU_READY
from benchmarks.figures import Figure
from benchmarks.terminal import PROGRAM, Terminal, temporary_home
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import EvaluationCompleted, RunStarted
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.protocol.status import ListedStatus
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.session.server import ServerThread

RATES, QUICK_RATES = (10, 50, 500), (50,)
METRICS = (1, 20)
SIZES = ((80, 24), (120, 40), (200, 60))
MIDDLE = 50, 1, (120, 40)

READY = b"running"
"""In the first line, once the state of the run is known."""

FIRST_SECONDS, LOAD_SECONDS = 3.0, 10.0
SSH = "192.0.2.1 50000 192.0.2.2 22"
"""The variable SSH_CONNECTION of a console that detects such a connection."""

SLOW_LINE = 20_000
"""Bytes per second."""

DIALOG, DIALOG_KEY, DIALOG_TEXT = "help", b"?", b"Pause after the current step"
RUNS_IN_MENU = 500


def figures(*, quick: bool) -> list[Figure]:
    """All figures of the console that docs/figures.md lists."""
    seconds = LOAD_SECONDS / 5 if quick else LOAD_SECONDS
    found = _still()
    for rate, metrics, size in _loads(QUICK_RATES if quick else RATES):
        cpu, sent = load(rate, metrics, size, seconds)
        what = f"{rate} steps/s, {metrics} metric{'s' if metrics > 1 else ''}, {size[0]}x{size[1]}"
        found.append(Figure(f"share of a core: {what}", cpu, "%", most=5.0))
        found.append(Figure(f"output: {what}", sent / 1000, "kB/s"))
        if size == MIDDLE[2]:
            _, sent = load(rate, metrics, size, seconds, over_ssh=True)
            found.append(Figure(f"output over SSH: {what}", sent / 1000, "kB/s", most=3.0))
    found.append(Figure(f"key `?` to {DIALOG} at 20 kB/s, 120x40", answer_seconds(), "s", most=0.5))
    found.append(Figure(f"first frame of the menu, {RUNS_IN_MENU} runs", menu_seconds(3), "s", most=0.5))
    updates = {points: charts.update_ms(points) for points in charts.POINTS[: 2 if quick else 3]}
    found += [
        Figure(f"drawing the charts at {points:,} points", milliseconds, "ms")
        for points, milliseconds in updates.items()
    ]
    fewest, most_points = min(updates), max(updates)
    ratio = updates[most_points] / updates[fewest]
    found.append(Figure(f"{most_points:,} points against {fewest}", ratio, "times", most=1.6))
    lines = history.QUICK_LINES if quick else history.LINES
    per_metric = history.View().fill(lines) / 1e6 / history.METRICS
    found.append(Figure("history of a metric, 10 million steps", per_metric, "MB", most=1.0))
    return found


def _loads(rates: Sequence[int]) -> Iterator[tuple[int, int, tuple[int, int]]]:
    for size in SIZES:
        for metrics in METRICS:
            for rate in rates:
                yield rate, metrics, size


def _still() -> list[Figure]:
    """The first screen, and what is sent while nothing changes."""
    with temporary_home() as home, _worker(Path(home), 0, 1) as folder, _attached(folder) as screen:
        screen.wait_for(READY)
        screen.watch(FIRST_SECONDS)
        first = screen.bytes
        screen.watch(FIRST_SECONDS)
        still = (screen.bytes - first) / FIRST_SECONDS
    return [
        Figure("first screen, 120x40", first / 1000, "kB", most=25.0),
        Figure("output while nothing changes", still, "B/s", most=0.0),
    ]


def load(
    rate: int, metrics: int, size: tuple[int, int], seconds: float, *, over_ssh: bool = False
) -> tuple[float, float]:
    """Return the share of a core (%) and the bytes per second of a console that watches such a run."""
    with temporary_home() as home, _worker(Path(home), rate, metrics) as folder:
        if over_ssh:
            os.environ["SSH_CONNECTION"] = SSH
        return _load(folder, size, seconds)


def _load(folder: RunFolder, size: tuple[int, int], seconds: float) -> tuple[float, float]:
    with _attached(folder, size) as screen:
        screen.wait_for(READY)
        screen.watch(FIRST_SECONDS)
        cpu, sent, start = screen.cpu_seconds(), screen.bytes, time.perf_counter()
        screen.watch(seconds)
        took = time.perf_counter() - start
        return 100 * (screen.cpu_seconds() - cpu) / took, (screen.bytes - sent) / took


def answer_seconds(rounds: int = 5) -> float:
    """Median seconds from a key to the dialog that it opens, over a slow line."""
    times = []
    with temporary_home() as home, _worker(Path(home), *MIDDLE[:2]) as folder:
        os.environ["SSH_CONNECTION"] = SSH
        with _attached(folder, rate=SLOW_LINE) as screen:
            screen.wait_for(READY)
            screen.watch(FIRST_SECONDS)
            for _ in range(rounds):
                start = time.perf_counter()
                screen.press(DIALOG_KEY)
                screen.wait_for(DIALOG_TEXT)
                times.append(time.perf_counter() - start)
                screen.press(b"\x1b")
                screen.watch(1.0)
    return statistics.median(times)


def menu_seconds(rounds: int) -> float:
    """Median seconds from the start of `torchconsole` until the menu of many runs is painted."""
    times = []
    with temporary_home() as home:
        runs = Path(home, "state", "torchconsole", "runs")
        for number in range(RUNS_IN_MENU):
            _folder(runs, f"run-{number}", "finished")
        for _ in range(rounds + 1):
            with Terminal([PROGRAM, "--runs-dir", str(runs)]) as screen:
                times.append(screen.wait_for(MENU_READY))
    return statistics.median(times[1:])


def _attached(folder: RunFolder, size: tuple[int, int] = (120, 40), rate: int | None = None) -> Terminal:
    return Terminal([PROGRAM, "attach", str(folder.path)], size=size, rate=rate)


def _folder(runs: Path, name: str, status: ListedStatus) -> RunFolder:
    folder = RunFolder.create(runs, name)
    now = time.time()
    host = socket.gethostname()
    record = RunRecord(folder.name, str(folder.path), host=host, status=status, created=now, updated=now)
    folder.write_record(record)
    return folder


@contextmanager
def _worker(home: Path, rate: int, metrics: int) -> Iterator[RunFolder]:
    """A run that logs so many steps a second; killed on exit."""
    folder = _folder(home / "runs", "paced", "running")
    write_preset(load_preset("digits-mlp"), folder.preset_file)
    command = [sys.executable, "-m", "benchmarks.screen", str(folder.path), str(rate), str(metrics)]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None
        worker.stdout.readline()
        yield folder
    finally:
        worker.kill()
        worker.wait()


class _IgnoreCommands:
    """A command queue that ignores all commands."""

    def put(self, id: str, command: Command, by: str) -> None: ...


def _serve(path: str, rate: int, metrics: int) -> None:
    """Run the worker process."""
    folder = RunFolder(Path(path))
    WorkerLock(folder.lock_file).acquire()
    server = ServerThread(folder, RunState(name=folder.name, folder=path), _IgnoreCommands())
    server.start()
    queue = server.event_queue
    queue.emit(RunStarted(steps_per_epoch=100, total_epochs=1000, total_steps=100_000))
    step = 0
    for step in range(1, 301):
        queue.log(_point(step, metrics))
    queue.flush()
    print("ready", flush=True)
    start = time.monotonic()
    while True:
        time.sleep(1 / min(rate, 50) if rate else 3600)
        while step - 300 < (time.monotonic() - start) * rate:
            step += 1
            queue.log(_point(step, metrics))
            if step % (10 * max(rate, 1)) == 0:
                values = {"val/loss": _loss(step), "val/accuracy": 1 - _loss(step) / 3}
                queue.emit(EvaluationCompleted(step=step, epoch=step // 100, metrics=values, seconds=0.1))


def _point(step: int, metrics: int) -> MetricsPoint:
    values = {f"train/metric_{number}": _loss(step + number) for number in range(metrics - 1)}
    values |= {"train/loss": _loss(step), "lr": 0.1 * (1 + math.cos(step / 32_000))}
    return MetricsPoint(step, 1 + step // 100, time.time(), step * 0.01, values)


def _loss(step: int) -> float:
    return (0.05 + 2 / (1 + step / 500)) * math.exp(0.3 * math.sin(step * 12.9898))


def main() -> None:
    """Print the figures, or be the worker."""
    if len(sys.argv) == 4:
        _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    for figure in figures(quick="--quick" in sys.argv):
        limit = f"(at most {figure.most:g})" if figure.most is not None else ""
        print(f"{figure.name}: {figure.value:.3g} {figure.unit} {limit}")


if __name__ == "__main__":
    main()
