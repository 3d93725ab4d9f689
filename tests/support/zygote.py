"""A process that has imported torch and forks workers, which then start in 0.1 s instead of 3 s.

    python -m tests.support.zygote

A line of JSON on stdin starts a worker: {"arguments": [...], "log": path, "env": {...}, "script": {...},
"memory": MiB that it may allocate on top of what torch takes, or null}. The answer is its pid at once, and
its exit status (-9 for SIGKILL) when it has ended. The script maps moments in the training thread,
`EVENT@STEP` or `log@STEP` for a line of metrics, to what happens then: a list of commands to submit, or KILL.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from torchconsole.engine.components.data.loader_worker import PR_SET_PDEATHSIG
from torchconsole.engine.components.torchvision_compat import prepare_torchvision
from torchconsole.engine.protocol.commands import COMMAND
from torchconsole.engine.protocol.events import Event
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.worker import main as worker

KILL = "kill"


class Zygote:
    """The zygote, seen from the test."""

    def __init__(self, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip

    def start(
        self,
        folder: RunFolder,
        *options: str,
        script: dict[str, Any] | None = None,
        memory: int | None = None,
        **env: str,
    ) -> int:
        """Start the worker of a run; returns its pid."""
        assert self._process.stdin is not None
        request = {
            "arguments": [str(folder.path), *options],
            "log": str(folder.log_file),
            "script": script or {},
            "env": env,
            "memory": memory,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def wait(self) -> int:
        """Wait until the worker that was started last has ended; returns its exit status."""
        return self._answer()

    def run(self, folder: RunFolder, *options: str, **how: Any) -> int:
        """Start the worker of a run and wait until it has ended; returns its exit status."""
        self.start(folder, *options, **how)
        return self.wait()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def main() -> None:
    """Fork a worker for each line on stdin, and print its pid and its exit status."""
    _end_with_parent()
    _load_everything()
    for line in sys.stdin:
        pid = os.fork() or _run_worker(json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _load_everything() -> None:
    prepare_torchvision()
    for module in ("torchvision.transforms.v2", "torchmetrics", "torchconsole.engine.worker.prepare"):
        importlib.import_module(module)


def _run_worker(request: dict[str, Any]) -> int:
    status = 1
    try:
        _end_with_parent()
        os.environ.update(request["env"])
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        if request["memory"]:
            _limit_memory(request["memory"] * 2**20)
        _install_script(request["script"])
        status = worker.main(request["arguments"])
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(status)


def _end_with_parent() -> None:
    """End this process when its parent is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit_memory(memory: int) -> None:
    """Let this process allocate at most `memory` more bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _install_script(script: dict[str, Any]) -> None:
    """Run the script in the training thread, right after each event or line that it names."""
    queue = CommandQueue()
    worker.CommandQueue = lambda: queue  # type: ignore[assignment,misc]
    emit, log = EventQueue.emit, EventQueue.log

    def act(moment: str) -> None:
        for number, command in enumerate(script.get(moment, [])):
            if command == KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            queue.put(f"{moment}-{number}", COMMAND.validate_python(command), "script")

    def scripted_emit(self: EventQueue, event: Event) -> None:
        emit(self, event)
        act(f"{event.type}@{getattr(event, 'step', 0)}")

    def scripted_log(self: EventQueue, point: MetricsPoint) -> None:
        log(self, point)
        act(f"log@{point.step}")

    EventQueue.emit, EventQueue.log = scripted_emit, scripted_log  # type: ignore[method-assign]


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    main()
