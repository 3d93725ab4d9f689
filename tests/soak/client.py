"""A client process of the soak.

    python -m tests.soak.client KIND FOLDER UNTIL

`visitor` connects, sends commands and disconnects, again and again; `slow` reads a few kilobytes a second;
`complete` follows the run from its first event to its last. UNTIL is a time of the monotonic clock. At its
end the client prints a line of JSON, in which `missing` must be 0.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
import time
from collections import Counter
from pathlib import Path

from tests.soak.view import View
from torchconsole.engine.client import connect, event_stream
from torchconsole.engine.client.client import RunClient
from torchconsole.engine.client.recorded_client import RunTail
from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.commands import Command, PauseRun, SetLearningRate, UnpauseRun
from torchconsole.engine.protocol.messages import (
    WORKER_MESSAGE,
    ClientHello,
    ProtocolFault,
    Snapshot,
    WorkerHello,
    encode,
)
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.line_formats import RECORDED

HARMLESS: tuple[Command, ...] = (SetLearningRate(factor=1.0), PauseRun(), UnpauseRun())
"""Commands that do not change the results of the training."""

CATCH_UP_SECONDS = 30.0

PIECE, PAUSE = 1024, 0.25
"""The slow client reads up to 1024 bytes, then waits 0.25 seconds."""


def add_view(tally: Counter[str], view: View) -> None:
    """Add the counts of a view to the tally."""
    tally.update(visits=1, events=view.events, gaps=view.gaps, dropped=view.snapshots, missing=view.missing())


async def visit(folder: RunFolder, tail: RunTail, until: float, tally: Counter[str]) -> None:
    """Connect, watch for some seconds and send commands, then disconnect."""
    leave = min(until, time.monotonic() + random.uniform(1, 8))
    async with connect(folder) as client:
        view = View(client.snapshot, tail)
        steering = asyncio.create_task(steer(client, tally))
        async for event in client.events():
            view.add(event)
            late = time.monotonic() - leave
            if late > 0 and (view.is_complete or late > CATCH_UP_SECONDS):
                break
        steering.cancel()
    add_view(tally, view)


async def steer(client: RunClient, tally: Counter[str]) -> None:
    """Send harmless commands; each is followed by an unpause, so that no pause is long."""
    while True:
        await asyncio.sleep(random.uniform(0.2, 3))
        for command in (random.choice(HARMLESS), UnpauseRun()):
            try:
                await client.send(command)
                tally["applied"] += 1
            except CommandRejectedError:
                tally["rejected"] += 1


def read_slowly(folder: RunFolder, tail: RunTail, until: float, tally: Counter[str]) -> None:
    """Read 4 kB a second for some seconds, then catch up and disconnect."""
    leave = min(until, time.monotonic() + random.uniform(20, 40))
    view: View | None = None
    rest = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(folder.load_record().socket)
        client.sendall(encode(ClientHello(by="slow")))
        while view is None or time.monotonic() < leave or not view.is_complete:
            if view and time.monotonic() < leave:
                time.sleep(PAUSE)
            if not (data := receive(client)):
                tally["dropped"] += 1
                return
            *lines, rest = (rest + data).split(b"\n")
            for message in map(WORKER_MESSAGE.validate_json, lines):
                if isinstance(message, Snapshot):
                    view = View(message, tail)
                elif view and not isinstance(message, WorkerHello | ProtocolFault):
                    view.add(message)
    add_view(tally, view)


def receive(client: socket.socket) -> bytes:
    """Receive some bytes; none if the worker has closed the connection."""
    try:
        return client.recv(PIECE)
    except ConnectionResetError:
        return b""


async def follow(folder: RunFolder, tally: Counter[str]) -> None:
    """Check that the event stream has each line of the files once and in order, despite reconnections."""
    received: list[int] = []
    async for event in event_stream(folder):
        tally["events"] += 1
        if isinstance(event, RECORDED):
            received.append(event.seq)
    recorded = [event.seq for event in RunTail(folder).read()]
    tally["missing"] = len(set(recorded).symmetric_difference(received)) + (received != sorted(set(received)))
    tally["last"] = received[-1]


async def main(kind: str, folder: RunFolder, until: float) -> None:
    """Run a client of this kind."""
    tally: Counter[str] = Counter(missing=0)
    tail = RunTail(folder)
    if kind == "complete":
        await follow(folder, tally)
    while kind != "complete" and time.monotonic() < until:
        if kind == "slow":
            await asyncio.to_thread(read_slowly, folder, tail, until, tally)
        else:
            await visit(folder, tail, until, tally)
            await asyncio.sleep(random.uniform(0, 2))
    print(json.dumps({"kind": kind, **tally}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], RunFolder(Path(sys.argv[2])), float(sys.argv[3])))
