"""The client's end of one connection to a worker: hellos and the snapshot, then messages either way."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from contextlib import AsyncExitStack, suppress

from pydantic import BaseModel, ValidationError

from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol import OLDEST_PROTOCOL, PROTOCOL_VERSION
from torchconsole.engine.protocol.events import Event
from torchconsole.engine.protocol.messages import (
    WORKER_LINE_LIMIT,
    WORKER_MESSAGE,
    ClientHello,
    ProtocolFault,
    Snapshot,
    WorkerHello,
    WorkerMessage,
    encode,
    explain,
    is_unknown_kind,
)
from torchconsole.engine.run.sockets import peer_uid

PIECE = 256 * 1024
"""Bytes that are taken off the connection at a time."""

HELLO_SECONDS = 10.0
"""How long a worker may take to answer; it is slow while it imports torch."""


class RefusedError(RunError):
    """The worker does not serve this client, or cannot be understood: the message is the reason."""


class Wire:
    """A connection that has been greeted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._lines: deque[bytearray] = deque()
        self._rest = bytearray()

    @classmethod
    async def open(cls, address: str, by: str) -> tuple[Wire, Snapshot]:
        """Connect. Raises OSError when nobody answers, RefusedError when the worker refuses us."""
        async with AsyncExitStack() as undo:
            async with asyncio.timeout(HELLO_SECONDS):
                wire = cls(*await asyncio.open_unix_connection(address, limit=PIECE))
                undo.push_async_callback(wire.close)
                snapshot = await wire._greet(by)
            undo.pop_all()
        return wire, snapshot

    async def wait(self) -> bool:
        """Wait for something that `take` may give; False when the connection is over. Raises RefusedError."""
        while not self._lines:
            try:
                piece = await self._reader.read(PIECE)
            except ConnectionError:
                return False
            if not piece:
                return False
            self._rest += piece
            if b"\n" in piece:
                *whole, self._rest = self._rest.split(b"\n")
                self._lines.extend(whole)
            elif len(self._rest) > WORKER_LINE_LIMIT:
                raise RefusedError(f"the worker sent a line of more than {WORKER_LINE_LIMIT} bytes")
        return True

    def take(self) -> Event | Snapshot | None:
        """What happened next, of what has come; None when there is no more of it. Raises RefusedError."""
        message = self._take()
        if isinstance(message, ProtocolFault):
            raise RefusedError(f"the worker refused: {message.reason}")
        if isinstance(message, WorkerHello):
            raise RefusedError("the worker said hello twice")
        return message

    def send(self, message: BaseModel) -> None:
        """Send a message; it is lost when the connection is over."""
        self._writer.write(encode(message))

    async def close(self) -> None:
        """Hang up, without waiting for a worker that takes no more lines."""
        self._writer.transport.abort()
        with suppress(ConnectionError):
            # All who wait for a writer's end share one future: who is cancelled there cancels it for all.
            await asyncio.shield(self._writer.wait_closed())

    async def _greet(self, by: str) -> Snapshot:
        if (uid := peer_uid(self._writer.get_extra_info("socket"))) != os.getuid():
            raise RefusedError(f"the run's socket is served by another user (uid {uid})")
        self.send(ClientHello(by=by))
        hello = await self._read()
        if isinstance(hello, ProtocolFault):
            raise RefusedError(hello.reason)
        if isinstance(hello, WorkerHello):
            _check_protocol(hello)
        snapshot = await self._read()
        if not isinstance(snapshot, Snapshot):
            raise ConnectionAbortedError("the worker hung up before it sent its snapshot")
        return snapshot

    async def _read(self) -> WorkerMessage | None:
        """The next message of a kind that is known here; None at the end."""
        while (message := self._take()) is None and await self.wait():
            pass
        return message

    def _take(self) -> WorkerMessage | None:
        """The next of the messages that have come, of a kind that is known here; None after the last one."""
        while self._lines:
            try:
                return WORKER_MESSAGE.validate_json(self._lines.popleft())
            except ValidationError as error:
                if not is_unknown_kind(error):
                    raise RefusedError(
                        f"the worker says what this version does not understand: {explain(error)}"
                    ) from error
        return None


def _check_protocol(hello: WorkerHello) -> None:
    if not OLDEST_PROTOCOL <= hello.protocol <= PROTOCOL_VERSION:
        raise RefusedError(
            f"the run speaks protocol {hello.protocol} and this torchconsole {PROTOCOL_VERSION}; "
            f"attach with torchconsole {hello.version}"
        )
