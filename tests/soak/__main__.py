"""A run with five clients that come, go, freeze and send, beside a twin that nobody attends.

    python -m tests.soak [MINUTES]

It fails where a number or a step is missing in a view or in metrics.jsonl, where a loss differs from the
twin's, where the attended worker's memory grows by more than 1 MB beyond its twin's, and where nothing was
dropped, thinned or sent, so that it would show nothing. The throughput's ratio is reported.
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
KINDS = ("slow", "visitor", "whole", "visitor", "visitor")
OVERRIDES = (
    "training.threads=1", "training.log_every=1", "training.epochs=1000000", "training.device=cpu",
    "training.eval_every=5", "data.batch_size=4", "early_stopping=",
)  # fmt: skip
"""Many steps, and few of the events that are not merged."""
FREEZES = (20.0, 1.0, 4.0)
"""Seconds; after the first the worker drops who takes nothing."""
ALLOWANCE = 10**6
GIVE_BACK = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
"""Has the C library return what is freed: else it may keep ten times the allowance, in either run."""
WARM_UP = 0.25
"""The part of the time in which memory may grow: caches fill, every kind of client has been there."""


@dataclass
class Attended:
    """A run with its memory over time, in bytes."""

    name: str
    run: StartedRun
    memory: list[int] = field(default_factory=list)

    def measure(self) -> None:
        """Note the memory of the worker's own."""
        status = Path(f"/proc/{self.run.process.pid}/status").read_text(encoding="ascii")
        self.memory.append(1024 * int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]))

    @property
    def growth(self) -> int:
        """From the tenth after the warm-up to the last tenth, the medians of both."""
        tenth = max(1, len(self.memory) // 10)
        start = int(len(self.memory) * WARM_UP)
        return int(median(self.memory[-tenth:]) - median(self.memory[start : start + tenth]))

    @property
    def losses(self) -> list[tuple[int, float]]:
        """(step, loss) of each logged step, as metrics.jsonl has them."""
        lines = map(json.loads, self.run.folder.metrics_file.read_text(encoding="utf-8").splitlines())
        return [(line["step"], line["train/loss"]) for line in lines if line["kind"] == "train"]

    @property
    def steps_per_second(self) -> float:
        """While it trained, pauses left out."""
        details = self.run.folder.load_record()
        return float(details.step / details.details["active_seconds"])

    def stop(self) -> None:
        """Have it save and end."""
        self.run.process.terminate()
        self.run.process.wait()


def soak(seconds: float, runs_dir: Path) -> list[str]:
    """Let them run; returns what went wrong, a sentence each."""
    preset = load_preset("digits-mlp", OVERRIDES)
    with ExitStack() as undo:
        runs = [Attended(name, start_run(preset, name, runs_dir)) for name in ("attended", "twin")]
        for run in runs:
            undo.callback(run.run.process.kill)
            await_first_step(run.run.folder)
        attended, twin = runs
        until = time.monotonic() + seconds
        clients = [start_client(kind, attended.run.folder, until) for kind in KINDS]
        for client in clients:
            undo.callback(client.kill)
        freeze_in_turn(clients, runs, until)
        *visiting, whole = sorted(clients, key=lambda client: "whole" in client.args)
        told = [hear(client) for client in visiting]
        for run in runs:
            run.stop()
        told.append(hear(whole))
        return judge(told) + compare(attended, twin)


def await_first_step(folder: RunFolder) -> None:
    """Raises RuntimeError when the run ends before."""
    while folder.load_record().step == 0:
        if not folder.read_record().is_live:
            raise RuntimeError(folder.read_record().reason)
        time.sleep(0.1)


def start_client(kind: str, folder: RunFolder, until: float) -> subprocess.Popen[str]:
    """A client in a process of its own."""
    command = [sys.executable, "-m", "tests.soak.client", kind, str(folder.path), str(until)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def freeze_in_turn(clients: Sequence[subprocess.Popen[str]], runs: Sequence[Attended], until: float) -> None:
    """Stop one client after the other, some so long that the worker drops them; measure meanwhile."""
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


def hear(client: subprocess.Popen[str]) -> dict[str, Any]:
    """What a client that has ended has to say for itself; nothing where it broke."""
    told, _ = client.communicate(timeout=120)
    print(told.strip(), flush=True)
    return json.loads(told) if client.returncode == 0 else {}


def judge(told: Sequence[dict[str, Any]]) -> list[str]:
    """What the clients missed, and what they did not get to see."""
    faults = [f"a client broke or missed something: {tally}" for tally in told if tally.get("missing") != 0]
    seen = sum(map(Counter, ({**tally, "kind": 0} for tally in told)), Counter[str]())
    return faults + [
        f"it shows nothing: {what} 0" for what in ("gaps", "dropped", "applied") if not seen[what]
    ]


def compare(attended: Attended, twin: Attended) -> list[str]:
    """The files of both, their memory, and their pace."""
    faults = [f"{run.name}: {fault}" for run in (attended, twin) for fault in holes(run)]
    both = list(zip(attended.losses, twin.losses, strict=False))
    if any(ours != theirs for ours, theirs in both):
        faults.append("the losses differ from the twin's")
    excess = attended.growth - twin.growth
    if excess > ALLOWANCE:
        faults.append(f"the memory grew by {excess / 10**6:.2f} MB more than the twin's")
    for run in (attended, twin):
        print(
            f"{run.name}: {run.run.folder.load_record().step:,} steps, {run.steps_per_second:.1f} a second, "
            f"memory {run.memory[0] / 2**20:.1f} MiB at first, {max(run.memory) / 2**20:.1f} at most, "
            f"{run.growth / 2**20:+.2f} after the warm-up"
        )
    print(f"{len(both):,} losses alike; throughput {attended.steps_per_second / twin.steps_per_second:.3f}")
    return faults


def holes(run: Attended) -> list[str]:
    """What is missing in the files."""
    steps = [step for step, _ in run.losses]
    numbers = [event.seq for event in RunTail(run.run.folder).read()]
    faults = [] if steps == [*range(1, len(steps) + 1)] else ["steps are missing in metrics.jsonl"]
    if len(steps) != run.run.folder.load_record().step:
        faults.append("the last steps are missing in metrics.jsonl")
    return faults if numbers == sorted(set(numbers)) else [*faults, "numbers come twice or out of order"]


def main() -> int:
    """Soak in a home of our own; 1 where something went wrong."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    with tempfile.TemporaryDirectory(prefix="tc-", dir="/tmp") as home:
        os.environ |= {"XDG_STATE_HOME": home, "TORCHCONSOLE_SOCKETS": home, "OMP_NUM_THREADS": "1"}
        os.environ |= GIVE_BACK
        faults = soak(60 * minutes, Path(home, "runs"))
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
