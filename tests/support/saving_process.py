"""A process that saves one checkpoint after another until it is killed, or kills itself in a save.

    python -m tests.support.saving_process

A line on stdin, `FOLDER NUMBER`, forks a child that writes checkpoints into FOLDER: endlessly if NUMBER is 0,
otherwise a fixed series of saves; before the file operation with that number it kills itself. The output is
`pid 123`, `saved 7` for each complete checkpoint, `operations 93` if the series was completed, and
`ended -9`, the child's exit status.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from torchconsole.engine.protocol.events import CheckpointSaved, Event
from torchconsole.engine.run.checkpoints import Manifest, list_checkpoints
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter, Reason, SaveJob

OPERATIONS = ("mkdir", "fsync", "rename", "replace", "symlink", "unlink", "rmdir")
"""The file operations of a save, apart from writing the files' content."""

ENDLESS = 0
COUNTING = 1_000_000
"""More operations than the fixed series has, so the child completes it."""

SERIES: tuple[tuple[int, int, Reason], ...] = (
    (1, 0, "best"), (2, 0, "last"), (3, 0, "last"), (3, 1, "last"), (4, 0, "command"), (5, 0, "last"),
    (6, 0, "last"),
)  # fmt: skip
"""(step, revision, reason): one is replaced, one kept, two removed by the rotation."""


class SavingProcess:
    """The process, seen from the test."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.saving_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def fork(self, folder: Path, number: int = ENDLESS) -> int:
        """Start a child; returns its pid."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder} {number}\n")
        self._process.stdin.flush()
        return self._read_until("pid")[-1][1]

    def wait_for_saves(self, count: int) -> None:
        """Wait until the child has saved `count` checkpoints."""
        for _ in range(count):
            self._read_until("saved")

    def wait(self) -> dict[str, int]:
        """Wait until the child has ended; returns the last number reported for each word."""
        return dict(self._read_until("ended"))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read_until(self, word: str) -> list[tuple[str, int]]:
        assert self._process.stdout is not None
        reports: list[tuple[str, int]] = []
        while not reports or reports[-1][0] != word:
            kind, number = self._process.stdout.readline().split()
            reports.append((kind, int(number)))
        return reports


def main() -> None:
    """Fork a child for each line on stdin, and report its pid and its exit status."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        folder, number = line.split()
        pid = os.fork() or _save(Path(folder), int(number))
        _print("pid", pid)
        _print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _save(folder: Path, number: int) -> int:
    writer = AsyncCheckpointWriter(folder, 2, _print_save)
    writer.start()
    if number == ENDLESS:
        done = list_checkpoints(folder)
        first = 1 + (int(done[0].name.removeprefix("step-")) if done else 0)
        for step in itertools.count(first):
            _submit(writer, step, 0, "last")
    used = _kill_before(number)
    for job in SERIES:
        _submit(writer, *job)
    _print("operations", used())
    os._exit(0)


def _submit(writer: AsyncCheckpointWriter, step: int, revision: int, reason: Reason) -> None:
    state = {"step": step, "revision": revision, "weights": torch.full((256, 256), float(step))}
    manifest = Manifest(step=step, epoch=1, revision=revision, kept=reason == "command", metrics={})
    writer.submit(SaveJob(state, manifest, reason, None))
    writer.flush()


def _print_save(event: Event) -> None:
    if isinstance(event, CheckpointSaved):
        _print("saved", event.step)


def _kill_before(number: int) -> Callable[[], int]:
    """Kill this process before its file operation `number`; returns a function that counts the operations."""
    used = 0

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def operate(*arguments: Any, **options: Any) -> Any:
            nonlocal used
            used += 1
            if used == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments, **options)

        return operate

    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))
    return lambda: used


def _print(word: str, number: int) -> None:
    """Print in a single write, so that lines of two processes are never mixed."""
    os.write(1, f"{word} {number}\n".encode())


if __name__ == "__main__":
    main()
