"""A run's events from its very first, each once: the files are the truth, the socket makes them fresh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import islice

from torchconsole.engine.client.client import connect
from torchconsole.engine.client.tail import RunTail
from torchconsole.engine.protocol.events import Event, RunFailed, RunFinished, RunLost
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metrics_format import RECORDED
from torchconsole.engine.run.recorded_history import read_snapshot

AT_ONCE = 500
"""Lines that are read before somebody else has a turn."""


async def event_stream(folder: RunFolder, *, follow: bool = True) -> AsyncIterator[Event]:
    """Everything that is on record of a run, then everything that happens, to its end.

    Of the past there is what the files keep: logged steps, evaluations, epochs, resumes, applied commands and
    how it ended. Each logged step is a MetricsLogged of its own, so that no number is missing, however slow
    the reader is. Without `follow` that is all. Raises RunError as `connect` and `RunClient.events` do.
    """
    tail = RunTail(folder)
    if not follow:
        snapshot = await asyncio.to_thread(read_snapshot, folder)
        async for event in _up_to(tail, snapshot):
            yield event
        return
    async with connect(folder, read_only=True) as client:
        async for event in _up_to(tail, client.snapshot):
            yield event
        async for heard in client.events():
            if isinstance(heard, Snapshot):
                async for event in _up_to(tail, heard):
                    yield event
                continue
            async for event in _read(tail, heard.seq):
                yield event
            if not isinstance(heard, RECORDED):
                yield heard


async def _up_to(tail: RunTail, snapshot: Snapshot) -> AsyncIterator[Event]:
    """What the files tell until the moment of a snapshot, and the end if that is behind it."""
    async for event in _read(tail, snapshot.state.seq):
        yield event
    if end := _end(snapshot.state):
        yield end


async def _read(tail: RunTail, until: int) -> AsyncIterator[Event]:
    lines = tail.read(until)
    while chunk := await asyncio.to_thread(lambda: list(islice(lines, AT_ONCE))):
        for event in chunk:
            yield event


def _end(state: RunState) -> Event | None:
    """The last event of a run that has ended; it is not among the lines."""
    told = {"reason": state.reason, "seq": state.seq, "time": state.ended or state.created}
    match state.status:
        case "finished" | "stopped":
            return RunFinished(**told, status=state.status, step=state.step, epoch=state.epoch)
        case "failed":
            return RunFailed(**told)
        case "lost":
            return RunLost(**told)
        case _:
            return None
