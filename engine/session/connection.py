"""One client as the worker sees it: its lines come in, messages go out, and one that freezes is dropped."""

from __future__ import annotations

import asyncio
import socket
import time

from pydantic import BaseModel

from torchconsole.engine.run.sockets import on_its_way, peer_uid
from torchconsole.engine.session.send_buffer import CHUNK, SendBuffer

MOST_WAITING = 300
"""Messages that may wait for one client; a console that reads has a handful at most. One that is dropped
comes back for a snapshot, and finds what it missed in the files."""

CROWDED_SECONDS = 1.0
"""How long more than that may wait: a burst is no reason to drop a client that reads."""

STALL_SECONDS = 10.0
"""How long a client may take nothing while bytes wait for it. To read 2 kB a second is enough."""

KERNEL_BYTES = 16 * 1024
"""Of messages that the kernel may hold for a client (it doubles this, for its own part): what is there cannot
be merged with later ones any more, and a piece of half that size counts as taken only as a whole."""


class Connection:
    """An accepted connection. `uid` is the user at the other end; `by` names who sits there, once said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.by = ""
        self._socket = writer.get_extra_info("socket")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        writer.transport.set_write_buffer_limits(high=CHUNK)
        self.uid = peer_uid(self._socket)
        self._reader = reader
        self._writer = writer
        self._outgoing = SendBuffer()
        self._news = asyncio.Event()
        self._closing = False
        self._crowded_since: float | None = None
        self._writing = asyncio.create_task(self._write())

    async def read_line(self) -> bytes:
        """The next line; empty when the client has gone. Raises ValueError for a line that is too long."""
        try:
            return await self._reader.readline()
        except ConnectionError:
            return b""

    def send(self, message: BaseModel) -> None:
        """Send a message once the client takes it. A client that has fallen too far behind is dropped."""
        self._outgoing.put(message)
        self._news.set()
        if len(self._outgoing) <= MOST_WAITING:
            self._crowded_since = None
        elif self._crowded_since is None:
            self._crowded_since = time.monotonic()
        elif time.monotonic() - self._crowded_since > CROWDED_SECONDS:
            self._drop()

    async def close(self, timeout: float) -> None:
        """Close once the client has taken everything, or after `timeout` seconds."""
        self._closing = True
        self._news.set()
        try:
            await asyncio.wait({self._writing}, timeout=timeout)
        finally:
            self._drop()

    def _drop(self) -> None:
        # A cancelled task and its traceback wait for the garbage collector: what is large must not wait too.
        self._outgoing.clear()
        self._writing.cancel()
        self._writer.transport.abort()

    async def _write(self) -> None:
        try:
            while not (self._closing and not self._outgoing):
                await self._news.wait()
                self._news.clear()
                while self._hand_on():
                    await self._until_taken()
            self._writer.close()
            await self._writer.wait_closed()
        except OSError:
            # The client has gone or hangs. Its reading side sees the closed transport and ends the rest.
            self._writer.transport.abort()

    def _hand_on(self) -> bool:
        """Give the transport what comes next; False when nothing waits."""
        lines = self._outgoing.take()
        self._writer.write(lines)
        return bool(lines)

    async def _until_taken(self) -> None:
        """Wait until the buffer has room again. Raises TimeoutError when the client takes nothing of it."""
        while True:
            before = self._untaken()
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    return await self._writer.drain()
            except TimeoutError:
                if self._untaken() >= before:
                    raise

    def _untaken(self) -> int:
        return self._writer.transport.get_write_buffer_size() + on_its_way(self._socket)
