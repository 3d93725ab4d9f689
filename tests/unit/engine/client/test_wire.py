"""What comes over a connection in pieces is taken in as messages."""

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
    """A wire, and where to put what the worker says."""
    reader = asyncio.StreamReader()
    return reader, Wire(reader, Mock())


async def heard(end: Wire) -> list[str]:
    """The phases that a worker tells until the connection is over."""
    phases: list[str] = []
    while await end.wait():
        while (event := end.take()) is not None:
            assert isinstance(event, PhaseChanged)
            phases.append(event.phase)
    return phases


@pytest.mark.parametrize("size", [1, 50, 100_000])
async def test_messages_are_whole_and_in_order_however_they_are_cut(size: int) -> None:
    said = b"".join(encode(PhaseChanged(phase=phase)) for phase in PHASES)
    reader, end = connection()
    hearing = asyncio.create_task(heard(end))
    for start in range(0, len(said), size):
        reader.feed_data(said[start : start + size])
        await asyncio.sleep(0)
    reader.feed_eof()
    assert await hearing == list(PHASES)


async def test_a_line_that_breaks_off_is_no_message() -> None:
    reader, end = connection()
    reader.feed_data(encode(PhaseChanged(phase="training")) + b'{"type":"PhaseChanged","pha')
    reader.feed_eof()
    assert await heard(end) == ["training"]


async def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "WORKER_LINE_LIMIT", 1000)
    reader, end = connection()
    reader.feed_data(b"x" * 1001)
    with pytest.raises(RefusedError, match="a line of more than 1000 bytes"):
        await end.wait()


async def test_a_hanging_up_that_was_cancelled_can_be_finished() -> None:
    ours, theirs = socketpair()
    with closing(theirs):
        end = Wire(*await asyncio.open_unix_connection(sock=ours))
        hanging_up = asyncio.create_task(end.close())
        await asyncio.sleep(0)
        hanging_up.cancel()
        await asyncio.wait({hanging_up})
        await end.close()
        assert theirs.recv(1) == b""
