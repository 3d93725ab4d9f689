"""A worker that logs a made-up loss and answers commands as the trainer does.

`standin_worker.py FOLDER [--with-child] [--chatty] [--later] [--hurried]`: the child is forked later, as a
loader's worker is; a chatty one logs a kilobyte at each step; a later one speaks the protocol after ours
alone; for a hurried one a second lasts a hundredth, and a tenth for its clients.
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

HURRY = 100 if "--fast" in sys.argv else 1

Request = tuple[str, Command, str]


class Commands:
    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()

    def put(self, id: str, command: Command, by: str) -> None:
        self.waiting.put((id, command, by))


def train(event_queue: EventQueue, commands: Commands) -> None:
    """Two hundred steps a second, until somebody asks to stop."""
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
            id, command, by = commands.waiting.get(timeout=0.005 / HURRY)
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
    """A process that inherits all sockets, and sleeps."""
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
    connection.STALL_SECONDS = 10.0 / HURRY**0.5  # the clients are not to be hurried as much
    event_store.PERIOD /= HURRY
    server.PERIOD /= HURRY
    server.TELEMETRY_SECONDS /= HURRY
    serving = server.ServerThread(folder, RunState(name=folder.name, folder=str(folder.path)), commands)
    serving.start()
    train(serving.event_queue, commands)
    serving.close()


if __name__ == "__main__":
    main()
