"""A user of the program, with a temporary home, working folder and environment."""

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

from tests.support.tracebacks import assert_no_traceback

PROGRAM = str(Path(sys.executable).with_name("torchconsole"))
ENDLESS = ("--set", "training.epochs=100000", "--set", "early_stopping.patience=100000")
DEADLINE = 60.0


def wait_until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Wait until `condition()` is true and return its value; fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return result


OPERATORS = Path(__file__).parent / "declared_operators"


class User:
    """A user with a temporary home, working folder and folder for sockets, who runs the program."""

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

    def use_other_libraries(self) -> None:
        """Let programs import Lightning and transformers offline, next to any build of torch."""
        self.env |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(OPERATORS)}

    def run(self, *arguments: str, timeout: float = 110, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `torchconsole` without a terminal until it ends; fail if it prints a traceback."""
        defaults = {"cwd": self.folder, "env": self.env, "stdin": subprocess.DEVNULL, "capture_output": True}
        done = subprocess.run([PROGRAM, *arguments], text=True, timeout=timeout, **{**defaults, **options})
        assert_no_traceback(done.stdout, done.stderr)
        return done

    def start(self, *options: str, preset: str = "digits-mlp") -> str:
        """Start a run that does not end by itself, and return its name."""
        done = self.run("train", preset, "--detach", *ENDLESS, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def send(self, run: str, *command: str) -> str:
        """Send a command that must be applied, and return the answer."""
        done = self.run("send", run, *command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def record(self, run: str) -> dict[str, Any]:
        """Return the run's entry in `torchconsole runs --json`."""
        listed = self.run("runs", "--json")
        assert listed.returncode == 0, listed.stderr
        return next(record for record in json.loads(listed.stdout) if record["name"] == run)

    def lines(self, run: str, file: str) -> list[dict[str, Any]]:
        """Read the complete lines of a .jsonl file in the run's folder."""
        text = (self.runs_dir / run / file).read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def last_step(self, run: str) -> int:
        """Return the last step in the run's metrics; 0 before the first line."""
        if not (self.runs_dir / run / "metrics.jsonl").exists():
            return 0
        return max((line["step"] for line in self.lines(run, "metrics.jsonl")), default=0)

    def runs(self) -> list[str]:
        """Return the names of the runs in this user's runs folder."""
        return sorted(file.parent.name for file in self.runs_dir.glob("*/run.json"))

    def write_preset(self, name: str, text: str) -> None:
        """Write a preset into the user's working folder."""
        folder = self.folder / "presets"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.toml").write_text(text)

    def worker(self, run: str) -> int:
        """Return the pid of the run's worker."""
        pid: int = json.loads((self.runs_dir / run / "run.json").read_text())["pid"]
        return pid

    def kill_workers(self) -> None:
        """Kill the workers of this user's runs, and programs that are runs themselves."""
        for file in self.runs_dir.glob("*/run.json"):
            pid = json.loads(file.read_text())["pid"]
            if pid and (is_worker(pid) or works_in(pid, self.folder)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def works_in(pid: int, folder: Path) -> bool:
    """Return whether the working folder of the process with this pid is `folder`."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def is_worker(pid: int) -> bool:
    """Return whether the process with this pid is a worker."""
    try:
        return b"torchconsole.engine.worker.main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
