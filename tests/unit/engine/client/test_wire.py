"""Data that arrives in pieces is decoded into messages."""

from __future__ import annotations

import asyncio
from contextlib import closing
from socket import socketpair
from unittest.mock import Mock

import pytest

from torchconsole.engine.client import wire
from torchconsole.engine.client.wire import RefusedError, Wire
from torchconsole.engine.protocol.events import PhaseChanged
from torchconsole.engine.protocol.messages import encode

PHASES = ("loading data", "first batch", "training")


def connection() -> tuple[asyncio.StreamReader, Wire]:
    """Return a wire, and the reader to feed with the worker's data."""
    reader = asyncio.StreamReader()
    return reader, Wire(reader, Mock())


async def phases_of(end: Wire) -> list[str]:
    """Return the phases that a worker reports until the connection ends."""
    phases: list[str] = []
    while await end.wait():
        while (event := end.take()) is not None:
            assert isinstance(event, PhaseChanged)
            phases.append(event.phase)
    return phases


@pytest.mark.parametrize("size", [1, 50, 100_000])
async def test_messages_are_complete_and_in_order_however_they_are_split(size: int) -> None:
    data = b"".join(encode(PhaseChanged(phase=phase)) for phase in PHASES)
    reader, end = connection()
    receiving = asyncio.create_task(phases_of(end))
    for start in range(0, len(data), size):
        reader.feed_data(data[start : start + size])
        await asyncio.sleep(0)
    reader.feed_eof()
    assert await receiving == list(PHASES)


async def test_an_incomplete_line_is_not_a_message() -> None:
    reader, end = connection()
    reader.feed_data(encode(PhaseChanged(phase="training")) + b'{"type":"PhaseChanged","pha')
    reader.feed_eof()
    assert await phases_of(end) == ["training"]


async def test_an_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "WORKER_LINE_LIMIT", 1000)
    reader, end = connection()
    reader.feed_data(b"x" * 1001)
    with pytest.raises(RefusedError, match="a line of more than 1000 bytes"):
        await end.wait()


async def test_a_cancelled_close_can_be_repeated() -> None:
    ours, theirs = socketpair()
    with closing(theirs):
        end = Wire(*await asyncio.open_unix_connection(sock=ours))
        closing_task = asyncio.create_task(end.close())
        await asyncio.sleep(0)
        closing_task.cancel()
        await asyncio.wait({closing_task})
        await end.close()
        assert theirs.recv(1) == b""
