"""What an attached console costs: CPU time and bytes sent; and the time to the menu's first frame.

`python -m benchmarks.console [SECONDS]` prints one line of JSON. Real processes are measured in a
pseudo-terminal of 120x40: a console attached to a run of digits-mlp on one thread, which logs every step.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.terminal import PROGRAM, Terminal, temporary_home
from torchconsole.engine.client.launcher import start_run
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.run.folder import RunFolder

ENDLESS = ("training.epochs=10000000", "training.threads=1", "training.device=cpu", "early_stopping=")
READY = b"data wait"
"""Words in the device panel, which is filled once the run trains."""

MENU_READY = b"quit"
"""The last word in the last line of the menu."""

WARM_UP_SECONDS = 3.0
GAP = 0.02
"""Output after this many seconds of silence counts as a new update."""


@dataclass(frozen=True)
class ConsoleLoad:
    """What a console did in `seconds` of wall time; `cpu_percent` is of one core."""

    seconds: float
    cpu_percent: float
    bytes_per_second: float
    updates_per_second: float
    cpu_ms_per_update: float


def figures(*, quick: bool) -> list[Figure]:
    """The console's load while a run logs every step, and the time to the first frame."""
    load = measure_load(5.0 if quick else 30.0)
    return [
        Figure("CPU use of an attached console, in % of a core", load.cpu_percent, "%", most=5.0),
        Figure("output of an attached console", load.bytes_per_second / 1000, "kB/s", most=3.0),
        Figure("screen updates of an attached console", load.updates_per_second, "a second"),
        Figure("CPU time of a screen update", load.cpu_ms_per_update, "ms"),
        Figure("time to the menu's first frame", first_frame(3 if quick else 7), "s"),
    ]


def measure_load(seconds: float, preset: str = "digits-mlp") -> ConsoleLoad:
    """Measure a console attached to a run that logs every step."""
    with temporary_home() as home, endless_run(preset, Path(home)) as folder, attached(folder) as screen:
        screen.wait_for(READY)
        screen.watch(WARM_UP_SECONDS)
        return _load_of(screen, seconds)


def first_frame(rounds: int) -> float:
    """Median seconds from the start of `torchconsole` until the whole menu is painted."""
    times = []
    with temporary_home():
        for _ in range(rounds + 1):
            with Terminal([PROGRAM]) as screen:
                times.append(screen.wait_for(MENU_READY))
    return statistics.median(times[1:])


def _load_of(screen: Terminal, seconds: float) -> ConsoleLoad:
    cpu, start, written, updates, last = screen.cpu_seconds(), time.perf_counter(), 0, 0, 0.0
    for piece in screen.read(seconds):
        now = time.perf_counter()
        updates += now - last > GAP
        last = now
        written += len(piece)
    took = time.perf_counter() - start
    spent = screen.cpu_seconds() - cpu
    return ConsoleLoad(
        seconds=took,
        cpu_percent=100 * spent / took,
        bytes_per_second=written / took,
        updates_per_second=updates / took,
        cpu_ms_per_update=1000 * spent / max(1, updates),
    )


def attached(folder: RunFolder) -> Terminal:
    """A console attached to a run."""
    return Terminal([PROGRAM, "attach", str(folder.path)])


@contextmanager
def endless_run(preset: str, home: Path) -> Iterator[RunFolder]:
    """A run without an end, killed on exit."""
    started = start_run(load_preset(preset, ENDLESS), preset, home / "runs")
    try:
        yield started.folder
    finally:
        started.process.kill()
        started.process.wait()


def main() -> None:
    """Print both measurements as JSON."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    print(json.dumps({"load": asdict(measure_load(seconds)), "first_frame_seconds": first_frame(7)}))


if __name__ == "__main__":
    main()
