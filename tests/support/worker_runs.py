"""Workers that live and die: real processes with small runs, started as the program starts them."""

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
    "title": "A run with a hard life",
    "data": {
        "name": f"{SUBJECT}:Blobs",
        "batch_size": 8,
        "val_split": 24,
        "eval_batch_size": 1,
        "normalize": "none",
    },
    "model": {"name": f"{SUBJECT}:Net"},
    "training": {"epochs": 6, "log_every": 1, "threads": 1, "device": "cpu"},
}
"""Six epochs of six steps, 24 batches in each evaluation."""


class Life:
    """A run with its worker."""

    def __init__(self, started: StartedRun) -> None:
        self.started = started
        self.folder = started.folder
        self.pid = started.process.pid

    @classmethod
    def begin(cls, runs_dir: Path, *overrides: str) -> Life:
        """Start a run."""
        trust(SUBJECT)
        content = _deep_copy(PRESET)
        for override in overrides:
            set_key(content, override)
        return cls(start_run(validate(content, "the fault tests"), "life", runs_dir))

    def resume(self) -> Life:
        """Go on where it stopped."""
        return Life(resume_run(self.folder))

    @property
    def log(self) -> str:
        """What the worker printed."""
        return self.folder.log_file.read_text()

    @property
    def record(self) -> RunRecord:
        """What run.json says, with the true status."""
        return self.folder.read_record()

    def signal(self, number: signal.Signals) -> None:
        """Send the worker a signal."""
        os.kill(self.pid, number)

    def await_printed(self, text: str) -> None:
        """Wait until the worker has printed this."""
        wait_until(lambda: text in self.log, f"{text!r} in {self.folder.log_file}")

    def await_line(self, kind: str = "train") -> None:
        """Wait until there is such a line in metrics.jsonl."""
        wait_until(lambda: kind in [line["kind"] for line in self.lines], f"a line of {kind}")

    def end(self) -> int:
        """Wait for the worker's end; returns its exit status."""
        return self.started.process.wait(timeout=60)

    async def ask(self, command: Command) -> None:
        """Have a command applied."""
        async with connect(self.folder) as client:
            await client.send(command)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What metrics.jsonl holds."""
        path = self.folder.metrics_file
        return lines_of(path) if path.exists() else []

    def children(self) -> list[int]:
        """The worker's own processes: its loader's."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [*map(int, text.split())]


def state_of(pid: int) -> str:
    """The letter of a process's state in /proc/PID/stat: T when stopped; Z, too, when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def losses(folder: RunFolder) -> list[tuple[int, float]]:
    """(step, loss) of each step, those beyond a checkpoint that was resumed replaced by the later ones."""
    found = {
        line["step"]: line["train/loss"] for line in lines_of(folder.metrics_file) if "train/loss" in line
    }
    return sorted(found.items())


def _deep_copy(value: Any) -> Any:
    return {key: _deep_copy(item) for key, item in value.items()} if isinstance(value, dict) else value
