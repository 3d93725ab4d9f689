"""The client's end of one connection to a worker: hellos and a snapshot first, then messages both ways."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from contextlib import AsyncExitStack, suppress

from pydantic import BaseModel, ValidationError

from torchconsole.engine.errors import RunError, WrongRunError
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

READ_BYTES = 256 * 1024
"""Size of one read from the connection."""

HELLO_SECONDS = 10.0
"""How long a worker may take to answer; it is slow while it imports torch."""


NOBODY = -1
"""User id at the other end of a connection that was not made: the worker's queue is full."""


class RefusedError(RunError):
    """The worker refuses this client, or sends something unintelligible; the message is the reason."""


class Wire:
    """A connection after the exchange of hellos."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._lines: deque[bytearray] = deque()
        self._rest = bytearray()

    @classmethod
    async def open(cls, address: str, by: str, lock: str) -> tuple[Wire, Snapshot]:
        """Connect to the worker of the run with this `lock` (see `lock_id`).

        Raises OSError if nobody answers, RefusedError if the worker refuses, and WrongRunError if it is that
        of another run.
        """
        async with AsyncExitStack() as undo:
            async with asyncio.timeout(HELLO_SECONDS):
                wire = cls(*await _connect(address))
                undo.push_async_callback(wire.close)
                snapshot = await wire._greet(by, lock)
            undo.pop_all()
        return wire, snapshot

    async def wait(self) -> bool:
        """Wait until `take` may return something; False once the connection is over. Raises RefusedError."""
        while not self._lines:
            try:
                data = await self._reader.read(READ_BYTES)
            except ConnectionError:
                return False
            if not data:
                return False
            self._rest += data
            if b"\n" in data:
                *complete, self._rest = self._rest.split(b"\n")
                self._lines.extend(complete)
            elif len(self._rest) > WORKER_LINE_LIMIT:
                raise RefusedError(f"the worker sent a line of more than {WORKER_LINE_LIMIT} bytes")
        return True

    def take(self) -> Event | Snapshot | None:
        """Return the next message that has arrived; None if there are no more. Raises RefusedError."""
        message = self._take()
        if isinstance(message, ProtocolFault):
            raise RefusedError(f"the worker refused: {message.reason}")
        if isinstance(message, WorkerHello):
            raise RefusedError("the worker sent a second hello")
        return message

    def send(self, message: BaseModel) -> None:
        """Send a message; it is lost if the connection is over."""
        self._writer.write(encode(message))

    async def close(self) -> None:
        """Close the connection, without waiting for a worker that no longer reads."""
        self._writer.transport.abort()
        with suppress(ConnectionError):
            # All tasks that wait for the end of a writer share one future: cancelling one would cancel it.
            await asyncio.shield(self._writer.wait_closed())

    async def _greet(self, by: str, lock: str) -> Snapshot:
        if (uid := peer_uid(self._writer.get_extra_info("socket"))) != os.getuid():
            if uid == NOBODY:
                raise ConnectionRefusedError("the worker has too many clients that wait")
            raise RefusedError(f"the run's socket is served by another user (uid {uid})")
        self.send(ClientHello(by=by))
        hello = await self._read()
        if isinstance(hello, ProtocolFault):
            raise RefusedError(hello.reason)
        if isinstance(hello, WorkerHello):
            _check_protocol(hello)
            if hello.lock != lock:
                raise WrongRunError(
                    f"the socket in its run.json belongs to another run, {hello.run}: run.json was copied or "
                    "forged"
                )
        snapshot = await self._read()
        if not isinstance(snapshot, Snapshot):
            raise ConnectionAbortedError("the worker closed the connection before it sent its snapshot")
        return snapshot

    async def _read(self) -> WorkerMessage | None:
        """Return the next message of a known kind; None at the end."""
        while (message := self._take()) is None and await self.wait():
            pass
        return message

    def _take(self) -> WorkerMessage | None:
        """Return the next message of a known kind that has arrived; None if there are no more."""
        while self._lines:
            try:
                return WORKER_MESSAGE.validate_json(self._lines.popleft())
            except ValidationError as error:
                if not is_unknown_kind(error):
                    raise RefusedError(
                        f"the worker sent a message that this version does not understand: {explain(error)}"
                    ) from error
        return None


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_unix_connection(address, limit=READ_BYTES)
    except ValueError as error:  # no path of a file can have these characters
        raise OSError(errno.EINVAL, "not a valid path") from error


def _check_protocol(hello: WorkerHello) -> None:
    if not OLDEST_PROTOCOL <= hello.protocol <= PROTOCOL_VERSION:
        raise RefusedError(
            f"the run uses protocol {hello.protocol} and this torchconsole {PROTOCOL_VERSION}; "
            f"attach with torchconsole {hello.version}"
        )
