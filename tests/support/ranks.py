"""Runs by several processes, which torchrun starts on this machine."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.program_user import User, wait_until

TORCHRUN = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone"]
SECONDS = 300.0

Logged = dict[tuple[int, str], Any]
"""Logged values by step and name."""

METRICS = ("train/loss", "lr", "val/loss")

STEPS = ("--set=training.log_every=1", "--set=training.max_steps=400", "--set=training.epochs=100")
"""For a run of the preset digits-mlp that is disturbed."""

OWN = """
title = "Own"
[data]
name = "faulty_rows.py:Rows"
in_memory = false
num_workers = 0
batch_size = 8
[model]
name = "MLP"
hidden = [4]
[training]
epochs = 10
log_every = 1
[checkpoint]
save_every_steps = 5
[distributed]
timeout = 0.1
"""
"""For a run that `faulty_rows` disturbs."""


class Torchrun:
    """Starts `torchconsole` in several processes. A test that fails shows what they have printed."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._started: dict[subprocess.Popen[bytes], Path] = {}

    def start(self, processes: int, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `torchconsole ARGUMENTS --headless` in so many processes, and return torchrun's own."""
        user = self._user
        printed = user.home / f"torchrun-{len(self._started)}.log"
        with printed.open("wb") as file:  # a pipe that is full would stop them
            process = subprocess.Popen(
                [*TORCHRUN, f"--nproc_per_node={processes}", "-m", "torchconsole", *arguments, "--headless"],
                cwd=user.folder,
                env=user.env | {"PYTHONSAFEPATH": "1"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started[process] = printed
        return process

    def run(self, processes: int, *arguments: str) -> tuple[int, str]:
        """Run it to its end; return torchrun's exit status and what all processes printed."""
        return self.wait(self.start(processes, *arguments))

    def wait(self, process: subprocess.Popen[bytes]) -> tuple[int, str]:
        """Wait for the end of torchrun; return its exit status and what all processes printed."""
        status = process.wait(timeout=SECONDS)
        return status, self.printed(process)

    def printed(self, process: subprocess.Popen[bytes]) -> str:
        """Return what all processes have printed until now."""
        return self._started[process].read_text(errors="replace")

    def train(self, processes: int, *arguments: str) -> str:
        """Train to the end and return the run's name."""
        before = set(self._user.runs())
        status, output = self.run(processes, "train", *arguments)
        assert status == 0, output
        (name,) = set(self._user.runs()) - before
        return name

    def wait_for_step(self, process: subprocess.Popen[bytes], step: int = 1) -> str:
        """Wait until the only run has logged this step, and return its name."""

        def found() -> str | None:
            assert process.poll() is None, "torchrun has ended"
            name = next(iter(self._user.runs()), None)
            return name if name and self._user.last_step(name) >= step else None

        name: str = wait_until(found, f"step {step}", SECONDS)
        return name

    def follower(self, rank: int) -> int:
        """Return the pid of a process that does not lead."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self._is_follower(folder, rank):
                    return int(folder.name)
        raise AssertionError(f"there is no process {rank}")

    def _is_follower(self, folder: Path, rank: int) -> bool:
        if b"torchconsole.engine.worker.follower" not in (folder / "cmdline").read_bytes():
            return False
        wanted = {f"HOME={self._user.home}".encode(), f"RANK={rank}".encode()}
        return wanted <= set((folder / "environ").read_bytes().split(b"\0"))

    def kill(self) -> None:
        """Kill what is still running: torchrun, its processes, and their workers."""
        for process, printed in self._started.items():
            family = []
            with suppress(psutil.NoSuchProcess):
                own = psutil.Process(process.pid)
                family = [own, *own.children(recursive=True)]
            for each in family:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait()
            print(printed.read_text(errors="replace")[-10_000:])
        for log in self._user.runs_dir.glob("*/worker.log"):
            print(log, log.read_text(errors="replace")[-10_000:], sep="\n")


def by_step(user: User, run: str, *metrics: str) -> Logged:
    """Return logged values by step and name; of a run that was resumed, those that stand."""
    values: Logged = {}
    for line in user.lines(run, "metrics.jsonl"):
        if line["kind"] == "resumed":
            values = {key: value for key, value in values.items() if key[0] <= line["step"]}
        if line["kind"] in ("train", "evaluation"):
            values |= {(line["step"], name): line[name] for name in line if name in metrics}
    return values


def undisturbed_run(user: User, preset: str, *options: str) -> Logged:
    """Train with two processes, and return what a run that is disturbed must log too."""
    words = ("train", preset, "--trust", "--quiet", "--nproc", "2", *options, "--name", "undisturbed")
    done = user.run(*words, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return by_step(user, "undisturbed", *METRICS)
