"""Small runs with real worker processes, started as the program starts them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from tests.support.runs import lines_of, wait_until
from torchconsole.engine.client.client import connect
from torchconsole.engine.client.launcher import StartedRun, resume_run, start_run
from torchconsole.engine.config.loading import set_key, validate
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord

SUBJECT = Path(__file__).with_name("faulty_task.py")

PRESET: dict[str, Any] = {
    "title": "A run for the fault tests",
    "data": {
        "name": f"{SUBJECT}:Blobs",
        "batch_size": 8,
        "val_split": 24,
        "eval_batch_size": 1,
        "normalize": "none",
        "num_workers": 0,
    },
    "model": {"name": f"{SUBJECT}:Net"},
    "training": {"epochs": 6, "log_every": 1, "threads": 1, "device": "cpu"},
}
"""Six epochs of six steps; an evaluation has 24 batches."""


class WorkerRun:
    """A run and its worker process."""

    def __init__(self, started: StartedRun) -> None:
        self.started = started
        self.folder = started.folder
        self.pid = started.process.pid

    @classmethod
    def start(cls, runs_dir: Path, *overrides: str) -> WorkerRun:
        """Start a run."""
        trust(SUBJECT)
        content = _deep_copy(PRESET)
        for override in overrides:
            set_key(content, override)
        return cls(start_run(validate(content, "the fault tests"), "life", runs_dir))

    def resume(self) -> WorkerRun:
        """Resume the run in a new worker."""
        return WorkerRun(resume_run(self.folder))

    @property
    def log(self) -> str:
        """The content of worker.log."""
        return self.folder.log_file.read_text()

    @property
    def record(self) -> RunRecord:
        """The run's record, with its status checked."""
        return self.folder.read_record()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the worker."""
        os.kill(self.pid, number)

    def wait_for_output(self, text: str) -> None:
        """Wait until worker.log contains the text."""
        wait_until(lambda: text in self.log, f"{text!r} in {self.folder.log_file}")

    def wait_for_line(self, kind: str = "train") -> None:
        """Wait until metrics.jsonl has a line of this kind."""
        wait_until(lambda: kind in [line["kind"] for line in self.lines], f"a {kind} line")

    def wait(self) -> int:
        """Wait until the worker exits; returns its exit status."""
        return self.started.process.wait(timeout=60)

    async def send(self, command: Command) -> None:
        """Send a command that must be applied."""
        async with connect(self.folder) as client:
            await client.send(command)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; empty if it does not exist yet."""
        path = self.folder.metrics_file
        return lines_of(path) if path.exists() else []

    def children(self) -> list[int]:
        """The pids of the worker's children: its data loader workers."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [*map(int, text.split())]


def state_of(pid: int) -> str:
    """Return a process's state from /proc/PID/stat: T if stopped; Z also if the process does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def losses(folder: RunFolder) -> list[tuple[int, float]]:
    """Return (step, loss) of each step; steps repeated after a resume replace the earlier ones."""
    found = {
        line["step"]: line["train/loss"] for line in lines_of(folder.metrics_file) if "train/loss" in line
    }
    return sorted(found.items())


def _deep_copy(value: Any) -> Any:
    return {key: _deep_copy(item) for key, item in value.items()} if isinstance(value, dict) else value
