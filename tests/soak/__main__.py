"""A run with five clients that come and go, freeze and send commands, beside a twin without clients.

    python -m tests.soak [MINUTES]

The soak fails if an event number or a step is missing in a client or in metrics.jsonl, if a loss differs from
the twin's, if the worker's memory grows by more than 1 MB more than the twin's, or if no client was dropped,
thinned or had a command applied, because then the soak proves nothing. It reports the ratio of throughputs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from torchconsole.engine.client.launcher import StartedRun, start_run
from torchconsole.engine.client.recorded_client import RunTail
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.run.folder import RunFolder

MINUTES = 10.0
KINDS = ("slow", "visitor", "complete", "visitor", "visitor")
OVERRIDES = (
    "training.threads=1", "training.log_every=1", "training.epochs=1000000", "training.device=cpu",
    "training.eval_every=5", "data.batch_size=4", "early_stopping=",
)  # fmt: skip
"""Many steps, and few events of the kinds that are not merged."""
FREEZES = (20.0, 1.0, 4.0)
"""Seconds; the worker drops a client that reads nothing for as long as the first."""
ALLOWED_GROWTH = 10**6
"""Bytes."""
MALLOC_SETTINGS = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
"""Let the C library return freed memory to the system; otherwise it may keep ten times ALLOWED_GROWTH."""
WARM_UP = 0.25
"""Fraction of the time in which memory may grow, while caches fill and clients of every kind connect."""


@dataclass
class MeasuredRun:
    """A run, and its memory over time in bytes."""

    name: str
    run: StartedRun
    memory: list[int] = field(default_factory=list)

    def measure(self) -> None:
        """Record the worker's anonymous memory."""
        status = Path(f"/proc/{self.run.process.pid}/status").read_text(encoding="ascii")
        self.memory.append(1024 * int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]))

    @property
    def growth(self) -> int:
        """The difference of the medians of the last tenth and of the tenth after the warm-up."""
        tenth = max(1, len(self.memory) // 10)
        start = int(len(self.memory) * WARM_UP)
        return int(median(self.memory[-tenth:]) - median(self.memory[start : start + tenth]))

    @property
    def losses(self) -> list[tuple[int, float]]:
        """(step, loss) of each training line in metrics.jsonl."""
        lines = map(json.loads, self.run.folder.metrics_file.read_text(encoding="utf-8").splitlines())
        return [(line["step"], line["train/loss"]) for line in lines if line["kind"] == "train"]

    @property
    def steps_per_second(self) -> float:
        """The throughput without pauses."""
        record = self.run.folder.load_record()
        return float(record.step / record.details["active_seconds"])

    def stop(self) -> None:
        """Stop the run by SIGTERM and wait until it has ended."""
        self.run.process.terminate()
        self.run.process.wait()


def soak(seconds: float, runs_dir: Path) -> list[str]:
    """Run both for `seconds`; returns the faults, one sentence each."""
    preset = load_preset("digits-mlp", OVERRIDES)
    with ExitStack() as undo:
        runs = [MeasuredRun(name, start_run(preset, name, runs_dir)) for name in ("attended", "twin")]
        for run in runs:
            undo.callback(run.run.process.kill)
            wait_for_first_step(run.run.folder)
        attended, twin = runs
        until = time.monotonic() + seconds
        clients = [start_client(kind, attended.run.folder, until) for kind in KINDS]
        for client in clients:
            undo.callback(client.kill)
        freeze_in_turn(clients, runs, until)
        *visiting, complete = sorted(clients, key=lambda client: "complete" in client.args)
        reports = [read_report(client) for client in visiting]
        for run in runs:
            run.stop()
        reports.append(read_report(complete))
        return check_clients(reports) + compare(attended, twin)


def wait_for_first_step(folder: RunFolder) -> None:
    """Wait until the run has trained a step. Raises RuntimeError if it ends before."""
    while folder.load_record().step == 0:
        if not folder.read_record().is_live:
            raise RuntimeError(folder.read_record().reason)
        time.sleep(0.1)


def start_client(kind: str, folder: RunFolder, until: float) -> subprocess.Popen[str]:
    """Start a client process."""
    command = [sys.executable, "-m", "tests.soak.client", kind, str(folder.path), str(until)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def freeze_in_turn(
    clients: Sequence[subprocess.Popen[str]], runs: Sequence[MeasuredRun], until: float
) -> None:
    """Freeze one client after another, some so long that the worker drops them; measure in the meantime."""
    for frozen, seconds in zip(cycle(clients), cycle(FREEZES), strict=False):
        if time.monotonic() > until:
            return
        frozen.send_signal(signal.SIGSTOP)
        thaw = min(until, time.monotonic() + seconds)
        while time.monotonic() < thaw:
            time.sleep(0.5)
            for run in runs:
                run.measure()
        frozen.send_signal(signal.SIGCONT)


def read_report(client: subprocess.Popen[str]) -> dict[str, Any]:
    """Read what a client prints at its end; empty if it failed."""
    report, _ = client.communicate(timeout=120)
    print(report.strip(), flush=True)
    return json.loads(report) if client.returncode == 0 else {}


def check_clients(reports: Sequence[dict[str, Any]]) -> list[str]:
    """Find what the clients missed, and what never happened."""
    faults = [
        f"a client failed or missed something: {report}" for report in reports if report.get("missing") != 0
    ]
    seen = sum(map(Counter, ({**report, "kind": 0} for report in reports)), Counter[str]())
    return faults + [
        f"the soak proves nothing: {what} is 0" for what in ("gaps", "dropped", "applied") if not seen[what]
    ]


def compare(attended: MeasuredRun, twin: MeasuredRun) -> list[str]:
    """Compare the files, losses, memory and throughput of both runs; returns the faults."""
    faults = [f"{run.name}: {fault}" for run in (attended, twin) for fault in holes(run)]
    both = list(zip(attended.losses, twin.losses, strict=False))
    if any(loss != twins_loss for loss, twins_loss in both):
        faults.append("the losses differ from the twin's")
    excess = attended.growth - twin.growth
    if excess > ALLOWED_GROWTH:
        faults.append(f"the memory grew by {excess / 10**6:.2f} MB more than the twin's")
    for run in (attended, twin):
        print(
            f"{run.name}: {run.run.folder.load_record().step:,} steps, {run.steps_per_second:.1f} a second, "
            f"memory {run.memory[0] / 2**20:.1f} MiB at first, {max(run.memory) / 2**20:.1f} at most, "
            f"{run.growth / 2**20:+.2f} after the warm-up"
        )
    ratio = attended.steps_per_second / twin.steps_per_second
    print(f"{len(both):,} identical losses; throughput ratio {ratio:.3f}")
    return faults


def holes(run: MeasuredRun) -> list[str]:
    """Find steps and event numbers that are missing in the run's files."""
    steps = [step for step, _ in run.losses]
    numbers = [event.seq for event in RunTail(run.run.folder).read()]
    faults = [] if steps == [*range(1, len(steps) + 1)] else ["steps are missing in metrics.jsonl"]
    if len(steps) != run.run.folder.load_record().step:
        faults.append("the last steps are missing in metrics.jsonl")
    return (
        faults if numbers == sorted(set(numbers)) else [*faults, "event numbers are repeated or out of order"]
    )


def main() -> int:
    """Run the soak with temporary user folders; returns 1 if there were faults."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    with tempfile.TemporaryDirectory(prefix="tc-", dir="/tmp") as home:
        os.environ |= {"XDG_STATE_HOME": home, "TORCHCONSOLE_SOCKETS": home, "OMP_NUM_THREADS": "1"}
        os.environ |= MALLOC_SETTINGS
        faults = soak(60 * minutes, Path(home, "runs"))
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
