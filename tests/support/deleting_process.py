"""A process that deletes a run, and kills itself in front of each of its file operations in turn.

    python -m tests.support.deleting_process RUNS_DIR [--all]

It forks one child for each position. The child makes a run named `run-N` in RUNS_DIR, with files that are not
torchconsole's, and deletes it until its operation N, where it ends by SIGKILL. The last child deletes its run
as a whole; the output is the number of children that were killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torchconsole.engine.run.deletion import delete_run
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import BEST, MANIFEST_FILE, STATE_FILE
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.registry import register

OPERATIONS = ("rename", "unlink", "rmdir")

FOREIGN = ("thesis.tex", "notes/ideas.txt", "checkpoints/step-00000002/figure.png")


def make_run(path: Path) -> RunFolder:
    """Make an ended run with two checkpoints, one of them not complete, and with FOREIGN files."""
    folder = RunFolder(path)
    for name in ("step-00000002", ".writing-step-00000004"):
        checkpoint = folder.checkpoints / name
        checkpoint.mkdir(parents=True)
        for file in (STATE_FILE, MANIFEST_FILE, f".{MANIFEST_FILE}.7.tmp"):
            (checkpoint / file).touch()
    (folder.checkpoints / BEST).symlink_to("step-00000002")
    for file in (folder.preset_file, folder.metrics_file, folder.lock_file, folder.path / ".run.json.7.tmp"):
        file.touch()
    folder.write_record(RunRecord(folder.name, str(path), status="finished", host="box", created=1.0))
    for name in FOREIGN:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(name)
    register(folder)
    return folder


def main(runs_dir: Path, *, everything: bool) -> int:
    """Fork children until one is not killed any more. Return the number of those that were."""
    number = 1
    while True:
        pid = os.fork()
        if not pid:
            folder = make_run(runs_dir / f"run-{number}")
            _kill_before(number)
            delete_run(folder, everything=everything)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != -signal.SIGKILL:
            return number - 1 if status == 0 else -1
        number += 1


def _kill_before(number: int) -> None:
    """Kill this process in front of its file operation `number`."""
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


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), everything="--all" in sys.argv))
