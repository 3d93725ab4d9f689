"""Somebody who uses the program: a home, a working folder and an environment of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

PROGRAM = str(Path(sys.executable).with_name("torchconsole"))
ENDLESS = ("--set", "training.epochs=100000", "--set", "early_stopping.patience=100000")
DEADLINE = 60.0


def wait_until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Wait until `condition()` is true and return what it returned; fail with `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)
    return result


class User:
    """Somebody with a home, a working folder and a place for sockets of their own, who uses the program."""

    def __init__(self, home: Path, sockets: str, cache: Path) -> None:
        self.home = home
        self.folder = home / "project"
        self.runs_dir = self.folder / "runs"
        self.folder.mkdir(parents=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "OMP_NUM_THREADS": "1",
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": str(cache),
            "TORCHCONSOLE_SOCKETS": sockets,
        }

    def run(self, *arguments: str, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `torchconsole` without a terminal until it ends."""
        defaults = {"cwd": self.folder, "env": self.env, "stdin": subprocess.DEVNULL, "capture_output": True}
        return subprocess.run([PROGRAM, *arguments], text=True, timeout=timeout, **{**defaults, **options})

    def start(self, *options: str, preset: str = "digits-mlp") -> str:
        """Start a run that ends only when it is told to, and return its name."""
        done = self.run("train", preset, "--detach", *ENDLESS, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def send(self, run: str, *command: str) -> str:
        """Send a command that must be applied, and return what was said to it."""
        done = self.run("send", run, *command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def record(self, run: str) -> dict[str, Any]:
        """The run as `torchconsole runs --json` tells of it."""
        listed = self.run("runs", "--json")
        assert listed.returncode == 0, listed.stderr
        return next(record for record in json.loads(listed.stdout) if record["name"] == run)

    def lines(self, run: str, file: str) -> list[dict[str, Any]]:
        """The whole lines of a .jsonl file in the run's folder."""
        text = (self.runs_dir / run / file).read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def last_step(self, run: str) -> int:
        """The last step in the run's metrics; 0 before the first line."""
        if not (self.runs_dir / run / "metrics.jsonl").exists():
            return 0
        return max((line["step"] for line in self.lines(run, "metrics.jsonl")), default=0)

    def runs(self) -> list[str]:
        """The names of the runs in this user's runs folder."""
        return sorted(file.parent.name for file in self.runs_dir.glob("*/run.json"))

    def write_preset(self, name: str, text: str) -> None:
        """Put a preset into the folder where the user works."""
        folder = self.folder / "presets"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.toml").write_text(text)

    def worker(self, run: str) -> int:
        """The pid of the run's worker."""
        pid: int = json.loads((self.runs_dir / run / "run.json").read_text())["pid"]
        return pid

    def end_workers(self) -> None:
        """Kill the workers of this user's runs."""
        for file in self.runs_dir.glob("*/run.json"):
            pid = json.loads(file.read_text())["pid"]
            if pid and is_worker(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def is_worker(pid: int) -> bool:
    """Whether a worker has this pid and has not ended."""
    try:
        return b"torchconsole.engine.worker.main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
