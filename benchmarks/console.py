"""What the console costs in full flow: its share of a core, the bytes it sends; and the menu's first frame.

`python -m benchmarks.console [SECONDS]` prints one line of JSON. Each figure is of a real process in a
pseudo-terminal of 120x40: the console attached to a run of digits-mlp on one thread, which logs every step.
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
from benchmarks.terminal import PROGRAM, Terminal, own_home
from torchconsole.engine.client.launcher import start_run
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.run.folder import RunFolder

ENDLESS = ("training.epochs=10000000", "training.threads=1", "training.device=cpu", "early_stopping=")
READY = b"Linear"
"""A word of the layer table: once it is there, the whole run screen is."""

MENU_READY = b"quit"
"""The last word of the menu's last line."""

WARM_UP_SECONDS = 3.0
SILENCE = 0.02
"""Seconds without output between two updates."""


@dataclass(frozen=True)
class Flow:
    """What a console did over `seconds` of wall time; `cpu_percent` of one core, `updates` painted frames."""

    seconds: float
    cpu_percent: float
    bytes_per_second: float
    updates_per_second: float
    cpu_ms_per_update: float


def figures(*, quick: bool) -> list[Figure]:
    """The costs in full flow, and the first frame."""
    flow = full_flow(5.0 if quick else 30.0)
    return [
        Figure("the console's share of a core in full flow", flow.cpu_percent, "%", most=5.0),
        Figure("bytes that it sends", flow.bytes_per_second / 1000, "kB/s"),
        Figure("updates that it shows", flow.updates_per_second, "a second"),
        Figure("its CPU time for an update", flow.cpu_ms_per_update, "ms"),
        Figure("the menu's first frame", first_frame(3 if quick else 7), "s"),
    ]


def full_flow(seconds: float, preset: str = "digits-mlp") -> Flow:
    """The console attached to a run that logs every step."""
    with own_home() as home, endless_run(preset, Path(home)) as folder, attached(folder) as screen:
        screen.wait_for(READY)
        screen.watch(WARM_UP_SECONDS)
        return flow_of(screen, seconds)


def first_frame(rounds: int) -> float:
    """Median seconds from the start of `torchconsole` to the menu being painted whole."""
    times = []
    with own_home():
        for _ in range(rounds + 1):
            with Terminal([PROGRAM]) as screen:
                times.append(screen.wait_for(MENU_READY))
    return statistics.median(times[1:])


def flow_of(screen: Terminal, seconds: float) -> Flow:
    """Watch a console that is in full flow."""
    cpu, begin, written, updates, last = screen.cpu_seconds(), time.perf_counter(), 0, 0, 0.0
    for piece in screen.read(seconds):
        now = time.perf_counter()
        updates += now - last > SILENCE
        last = now
        written += len(piece)
    took = time.perf_counter() - begin
    spent = screen.cpu_seconds() - cpu
    return Flow(
        seconds=took,
        cpu_percent=100 * spent / took,
        bytes_per_second=written / took,
        updates_per_second=updates / took,
        cpu_ms_per_update=1000 * spent / max(1, updates),
    )


def attached(folder: RunFolder) -> Terminal:
    """The console on a run."""
    return Terminal([PROGRAM, "attach", str(folder.path)])


@contextmanager
def endless_run(preset: str, home: Path) -> Iterator[RunFolder]:
    """A run that goes on until it is killed afterwards."""
    started = start_run(load_preset(preset, ENDLESS), preset, home / "runs")
    try:
        yield started.folder
    finally:
        started.process.kill()
        started.process.wait()


def main() -> None:
    """Measure both."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    print(json.dumps({"full_flow": asdict(full_flow(seconds)), "first_frame_seconds": first_frame(7)}))


if __name__ == "__main__":
    main()
