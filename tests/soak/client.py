"""One of the soak's clients, a process of its own: `python -m tests.soak.client KIND FOLDER UNTIL`.

`visitor` comes and goes and sends commands, `slow` reads a few kilobytes a second, `whole` follows from the
first event to the last. UNTIL is the monotonic clock's. At its end it prints a line of JSON; exit status 1
says that something was missing.
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
from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.commands import Command, PauseRun, ResumeRun, SetLearningRate
from torchconsole.engine.protocol.messages import (
    WORKER_MESSAGE,
    ClientHello,
    ProtocolFault,
    Snapshot,
    WorkerHello,
    encode,
)
from torchconsole.engine.runtime import all_events, connect
from torchconsole.engine.runtime.client import RunClient
from torchconsole.engine.runtime.run_folder import RunFolder

HARMLESS: tuple[Command, ...] = (SetLearningRate(factor=1.0), PauseRun(), ResumeRun())
"""Commands after which the training computes what it would have computed without them."""

CATCH_UP_SECONDS = 30.0


def note(tally: Counter[str], view: View) -> None:
    """Add what a view came to."""
    tally.update(
        visits=1, events=view.events, gaps=view.gaps, snapshots=view.snapshots, missing=len(view.ahead)
    )


async def visit(folder: RunFolder, until: float, tally: Counter[str]) -> None:
    """Come, watch for some seconds, send a command now and then, go."""
    leave = min(until, time.monotonic() + random.uniform(1, 8))
    async with connect(folder) as client:
        view = View(client.snapshot)
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
        for command in (random.choice(HARMLESS), ResumeRun()):
            try:
                await client.send(command)
                tally["applied"] += 1
            except CommandRejectedError:
                tally["rejected"] += 1


def read_slowly(folder: RunFolder, until: float, tally: Counter[str]) -> None:
    """Take 16 KiB a second for some seconds, then read up and go."""
    leave = min(until, time.monotonic() + random.uniform(20, 40))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(folder.load_record().socket)
        client.sendall(encode(ClientHello(by="slow")))
        view: View | None = None
        rest = b""
        while view is None or time.monotonic() < leave or not view.is_whole:
            if time.monotonic() < leave:
                time.sleep(0.25)
            data = client.recv(4096)
            if not data:
                tally["dropped"] += 1
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                message = WORKER_MESSAGE.validate_json(line)
                if isinstance(message, Snapshot):
                    view = View(message)
                elif view and not isinstance(message, WorkerHello | ProtocolFault):
                    view.take(message)
        note(tally, view)


async def follow(folder: RunFolder, tally: Counter[str]) -> None:
    """Every number from the attaching on, each once, to the run's end."""
    live = folder.load_record().seq
    last = 0
    async for event in all_events(folder):
        if not event.seq:
            continue
        tally["events"] += 1
        tally["missing"] += event.seq != last + 1 if last > live else event.seq <= last
        last = event.seq
    tally["last"] = last


async def main(kind: str, folder: RunFolder, until: float) -> int:
    """Play the part."""
    tally: Counter[str] = Counter(missing=0)
    if kind == "whole":
        await follow(folder, tally)
    while kind != "whole" and time.monotonic() < until:
        if kind == "slow":
            await asyncio.to_thread(read_slowly, folder, until, tally)
        else:
            await visit(folder, until, tally)
            await asyncio.sleep(random.uniform(0, 2))
    print(json.dumps({"kind": kind, **tally}), flush=True)
    return int(tally["missing"] > 0)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], RunFolder(Path(sys.argv[2])), float(sys.argv[3]))))
