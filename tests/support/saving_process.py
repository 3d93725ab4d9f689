"""A process that saves one checkpoint after the other and is killed, at random or before a file operation.

    python -m tests.support.saving_process

A line on stdin, `FOLDER NUMBER`, forks one that writes into FOLDER: without end for NUMBER 0, else a fixed
series of saves up to the operation of that number, where it kills itself. It says `pid 123`, `saved 7` for
each checkpoint when it is whole, `operations 93` at its end; its parent says `ended -9`.
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
from torchconsole.engine.run.manifest import Manifest, list_checkpoints
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter, Reason, SaveJob

OPERATIONS = ("mkdir", "fsync", "rename", "replace", "symlink", "unlink", "rmdir")
"""What a save does to the file system, apart from writing the file's content."""

ENDLESS = 0
COUNTING = 1_000_000
"""More operations than the fixed series has: it is killed nowhere."""

SERIES: tuple[tuple[int, int, Reason], ...] = (
    (1, 0, "best"), (2, 0, "last"), (3, 0, "last"), (3, 1, "last"), (4, 0, "command"), (5, 0, "last"),
    (6, 0, "last"),
)  # fmt: skip
"""(step, revision, reason): one is replaced, one kept, two are rotated away."""


class Saving:
    """The test's end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.saving_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def fork(self, folder: Path, number: int = ENDLESS) -> int:
        """Start one; returns its pid."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder} {number}\n")
        self._process.stdin.flush()
        return self._await("pid")[-1][1]

    def await_saves(self, count: int) -> None:
        """Wait until it has saved so often."""
        for _ in range(count):
            self._await("saved")

    def wait(self) -> dict[str, int]:
        """Wait for its end; returns the last number of each kind that it said."""
        return dict(self._await("ended"))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _await(self, word: str) -> list[tuple[str, int]]:
        assert self._process.stdout is not None
        heard: list[tuple[str, int]] = []
        while not heard or heard[-1][0] != word:
            kind, number = self._process.stdout.readline().split()
            heard.append((kind, int(number)))
        return heard


def main() -> None:
    """Fork one for each line, and say how it ended."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        folder, number = line.split()
        pid = os.fork() or _save(Path(folder), int(number))
        _say("pid", pid)
        _say("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _save(folder: Path, number: int) -> int:
    saver = AsyncCheckpointWriter(folder, 2, _report)
    saver.start()
    if number == ENDLESS:
        done = list_checkpoints(folder)
        first = 1 + (int(done[0].name.removeprefix("step-")) if done else 0)
        for step in itertools.count(first):
            _submit(saver, step, 0, "last")
    used = _kill_before(number)
    for job in SERIES:
        _submit(saver, *job)
    _say("operations", used())
    os._exit(0)


def _submit(saver: AsyncCheckpointWriter, step: int, revision: int, reason: Reason) -> None:
    state = {"step": step, "revision": revision, "weights": torch.full((256, 256), float(step))}
    manifest = Manifest(step=step, epoch=1, revision=revision, kept=reason == "command", metrics={})
    saver.submit(SaveJob(state, manifest, reason, None))
    saver.flush()


def _report(event: Event) -> None:
    if isinstance(event, CheckpointSaved):
        _say("saved", event.step)


def _kill_before(number: int) -> Callable[[], int]:
    """Kill this process before its file operation of that number; returns what counts them."""
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


def _say(word: str, number: int) -> None:
    """In one write, which two processes cannot mix up."""
    os.write(1, f"{word} {number}\n".encode())


if __name__ == "__main__":
    main()
