"""One of the soak's clients, a process of its own: `python -m tests.soak.client KIND FOLDER UNTIL`.

`visitor` comes and goes and sends commands, `slow` reads a few kilobytes a second, `whole` follows from the
first event to the last. UNTIL is the monotonic clock's. At its end it prints a line of JSON, whose
`missing` is to be 0.
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
from torchconsole.engine.run.metrics_format import RECORDED

HARMLESS: tuple[Command, ...] = (SetLearningRate(factor=1.0), PauseRun(), UnpauseRun())
"""Commands after which the training computes what it would have computed without them."""

CATCH_UP_SECONDS = 30.0

PIECE, PAUSE = 1024, 0.25
"""The slow one reads so many bytes, then waits for so many seconds."""


def note(tally: Counter[str], view: View) -> None:
    """Add what a view came to."""
    tally.update(visits=1, events=view.events, gaps=view.gaps, dropped=view.snapshots, missing=view.missing())


async def visit(folder: RunFolder, tail: RunTail, until: float, tally: Counter[str]) -> None:
    """Come, watch for some seconds, send a command now and then, go."""
    leave = min(until, time.monotonic() + random.uniform(1, 8))
    async with connect(folder) as client:
        view = View(client.snapshot, tail)
        steering = asyncio.create_task(steer(client, tally))
        async for heard in client.events():
            view.take(heard)
            late = time.monotonic() - leave
            if late > 0 and (view.is_whole or late > CATCH_UP_SECONDS):
                break
        steering.cancel()
    note(tally, view)


async def steer(client: RunClient, tally: Counter[str]) -> None:
    """Send commands that leave the training's results as they are, and no pause for long."""
    while True:
        await asyncio.sleep(random.uniform(0.2, 3))
        for command in (random.choice(HARMLESS), UnpauseRun()):
            try:
                await client.send(command)
                tally["applied"] += 1
            except CommandRejectedError:
                tally["rejected"] += 1


def read_slowly(folder: RunFolder, tail: RunTail, until: float, tally: Counter[str]) -> None:
    """Read 4 kB a second for some seconds, then read up and go."""
    leave = min(until, time.monotonic() + random.uniform(20, 40))
    view: View | None = None
    rest = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(folder.load_record().socket)
        client.sendall(encode(ClientHello(by="slow")))
        while view is None or time.monotonic() < leave or not view.is_whole:
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
                    view.take(message)
    note(tally, view)


def receive(client: socket.socket) -> bytes:
    """Some bytes; none where the worker has hung up."""
    try:
        return client.recv(PIECE)
    except ConnectionResetError:
        return b""


async def follow(folder: RunFolder, tally: Counter[str]) -> None:
    """Every line of the files, each once, in order, to the run's end, however often it is dropped."""
    heard: list[int] = []
    async for event in event_stream(folder):
        tally["events"] += 1
        if isinstance(event, RECORDED):
            heard.append(event.seq)
    filed = [event.seq for event in RunTail(folder).read()]
    tally["missing"] = len(set(filed).symmetric_difference(heard)) + (heard != sorted(set(heard)))
    tally["last"] = heard[-1]


async def main(kind: str, folder: RunFolder, until: float) -> None:
    """Play the part."""
    tally: Counter[str] = Counter(missing=0)
    tail = RunTail(folder)
    if kind == "whole":
        await follow(folder, tally)
    while kind != "whole" and time.monotonic() < until:
        if kind == "slow":
            await asyncio.to_thread(read_slowly, folder, tail, until, tally)
        else:
            await visit(folder, tail, until, tally)
            await asyncio.sleep(random.uniform(0, 2))
    print(json.dumps({"kind": kind, **tally}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], RunFolder(Path(sys.argv[2])), float(sys.argv[3])))
