"""A worker that needs no torch: it logs an invented loss and answers commands as the trainer does.

    standin_worker.py FOLDER [--with-child] [--chatty] [--newer] [--fast]

--with-child forks a process at step 100, as a data loader does. --chatty writes a kilobyte to the log at each
step. --newer speaks only the next version of the protocol. --fast shortens the worker's seconds to a
hundredth, and the seconds after which a slow client is dropped to a tenth.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import time
from pathlib import Path

from torchconsole.engine.protocol import PROTOCOL_VERSION
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import Command, SetLearningRate, StopRun
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock
from torchconsole.engine.session import client_manager, connection, event_store, server
from torchconsole.engine.session.event_queue import EventQueue

SPEED = 100 if "--fast" in sys.argv else 1

Request = tuple[str, Command, str]


class Commands:
    def __init__(self) -> None:
        self.requests: queue.SimpleQueue[Request] = queue.SimpleQueue()

    def put(self, id: str, command: Command, by: str) -> None:
        self.requests.put((id, command, by))


def train(event_queue: EventQueue, commands: Commands) -> None:
    """Log about two hundred steps a second until a client sends StopRun."""
    event_queue.emit(ev.RunStarted(steps_per_epoch=100))
    step = 0
    while True:
        step += 1
        if step == 100 and "--with-child" in sys.argv:
            fork_child()
        if "--chatty" in sys.argv:
            event_queue.emit(ev.LogWritten(message="x" * 1000))
        event_queue.log(
            MetricsPoint(step, 1 + step // 100, time.time(), step * 0.005, {"train/loss": 1 / step})
        )
        try:
            id, command, by = commands.requests.get(timeout=0.005 / SPEED)
        except queue.Empty:
            continue
        if isinstance(command, SetLearningRate) and command.value == 0:
            event_queue.emit(ev.CommandRejected(id=id, reason="the lr must not be 0"))
        else:
            event_queue.emit(ev.CommandApplied(id=id, command=command, step=step, by=by, detail="done"))
        if isinstance(command, StopRun):
            event_queue.emit(ev.RunFinished(status="stopped", reason=command.reason, step=step, epoch=0))
            return


def fork_child() -> None:
    """Fork a process that inherits all sockets and sleeps."""
    if child := os.fork():
        print(f"child {child}", flush=True)
    else:
        signal.pause()


def main() -> None:
    folder = RunFolder(Path(sys.argv[1]))
    WorkerLock(folder.lock_file).acquire()
    commands = Commands()
    if "--newer" in sys.argv:
        client_manager.PROTOCOL_VERSION = client_manager.OLDEST_PROTOCOL = PROTOCOL_VERSION + 1
    connection.STALL_SECONDS = 10.0 / SPEED**0.5  # clients run at a tenth of the speed
    event_store.PERIOD /= SPEED
    server.PERIOD /= SPEED
    server.TELEMETRY_SECONDS /= SPEED
    serving = server.ServerThread(folder, RunState(name=folder.name, folder=str(folder.path)), commands)
    serving.start()
    train(serving.event_queue, commands)
    serving.close()


if __name__ == "__main__":
    main()
