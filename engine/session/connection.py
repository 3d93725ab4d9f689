"""The worker's end of one client's connection: reads its lines, and sends as fast as the client reads.

What waits for a slow client stays small: metrics are merged, telemetry is replaced, nothing else is lost. A
client that hangs is dropped.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from itertools import count

from pydantic import BaseModel

from torchconsole.engine.protocol.buckets import join
from torchconsole.engine.protocol.events import MetricsLogged, RanksMeasured, TelemetryMeasured
from torchconsole.engine.protocol.messages import encode
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.series import thinned
from torchconsole.engine.run.sockets import peer_uid, unread_bytes
from torchconsole.engine.session.event_queue import ROUTINE

MAX_WAITING = 300
"""Messages that may wait for one client; a console that reads has a handful at most. A client that was
dropped reconnects, gets a snapshot, and finds in the files what it missed."""

CROWDED_SECONDS = 1.0
"""How long more than that may wait: a burst is no reason to drop a client that reads."""

STALL_SECONDS = 10.0
"""How long a client may read nothing while bytes wait for it. Reading 2 kB a second is enough."""

CHUNK_BYTES = 16 * 1024
"""Size of what the transport gets at a time: what it has taken cannot be merged any more."""

KERNEL_BYTES = 16 * 1024
"""Send buffer of the socket, in bytes (the kernel doubles this for its own overhead): what is there cannot be
merged with later messages, and the kernel counts a piece of half that size as read only in one go."""

MAX_POINTS = 1000
"""Points of a series in one event. A tenth of a second of short steps fits: thinning costs more."""

MAX_WAITING_POINTS = 100
"""Points of a series in an event that had to wait: less for slow readers, but enough for any screen."""

_NONE = -1


class Connection:
    """An accepted connection. `uid` is the user at the other end; `by` is the client's name for its user."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.by = ""
        self._socket = writer.get_extra_info("socket")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        writer.transport.set_write_buffer_limits(high=CHUNK_BYTES)
        self.uid = peer_uid(self._socket)
        self._reader = reader
        self._writer = writer
        self._buffer = SendBuffer()
        self._has_work = asyncio.Event()
        self._closing = False
        self._crowded_since: float | None = None
        self._writing = asyncio.create_task(self._write())

    async def read_line(self) -> bytes:
        """Read the next line; empty if the client has gone. Raises ValueError for a line that is too long."""
        try:
            return await self._reader.readline()
        except ConnectionError:
            return b""

    def send(self, message: BaseModel) -> None:
        """Send a message once the client reads. A client that has fallen too far behind is dropped."""
        self._buffer.put(message)
        self._has_work.set()
        if len(self._buffer) <= MAX_WAITING:
            self._crowded_since = None
        elif self._crowded_since is None:
            self._crowded_since = time.monotonic()
        elif time.monotonic() - self._crowded_since > CROWDED_SECONDS:
            self._drop()

    async def close(self, timeout: float) -> None:
        """Close once the client has read everything, or after `timeout` seconds."""
        self._closing = True
        self._has_work.set()
        try:
            await asyncio.wait({self._writing}, timeout=timeout)
        finally:
            self._drop()

    def _drop(self) -> None:
        # A cancelled task and its traceback live until the garbage collector runs: free what is large now.
        self._buffer.clear()
        self._writing.cancel()
        self._writer.transport.abort()

    async def _write(self) -> None:
        try:
            while not (self._closing and not self._buffer):
                await self._has_work.wait()
                self._has_work.clear()
                while self._write_next():
                    await self._wait_for_room()
            self._writer.close()
            await self._writer.wait_closed()
        except OSError:
            # The client has gone or hangs. The task that reads sees the closed transport and cleans up.
            self._writer.transport.abort()

    def _write_next(self) -> bool:
        """Give the transport the next lines; returns False if nothing waits.

        This is a method so that `_write` has no reference to the lines, which may be a large snapshot: for a
        dropped client, the frame of `_write` lives until the garbage collector runs.
        """
        lines = self._buffer.take()
        self._writer.write(lines)
        return bool(lines)

    async def _wait_for_room(self) -> None:
        """Wait until the transport has room again. Raises TimeoutError if the client reads nothing."""
        while True:
            before = self._unread()
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    return await self._writer.drain()
            except TimeoutError:
                if self._unread() >= before:
                    raise

    def _unread(self) -> int:
        return self._writer.transport.get_write_buffer_size() + unread_bytes(self._socket)


class SendBuffer:
    """A queue whose length does not grow with the metrics, however slow the client is.

    Metrics that wait are merged with later ones: across routine events, such as an evaluation, but never
    across one that changes what the metrics mean, such as a resume or an applied command.
    """

    def __init__(self) -> None:
        self._messages: OrderedDict[int, BaseModel] = OrderedDict()
        self._keys = count()
        self._metrics = _NONE
        self._measured: dict[type[BaseModel], int] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: BaseModel) -> None:
        """Add a message at the end."""
        key = next(self._keys)
        if isinstance(message, MetricsLogged):
            message = self._merged(message)
            self._metrics = key
        elif isinstance(message, TelemetryMeasured | RanksMeasured):
            self._messages.pop(self._measured.get(type(message), _NONE), None)
            self._measured[type(message)] = key
        elif not isinstance(message, ROUTINE):
            self._metrics = _NONE
        self._messages[key] = message

    def take(self) -> bytes:
        """Remove the next lines, about CHUNK_BYTES of them; empty if nothing waits."""
        lines: list[bytes] = []
        size = 0
        while self._messages and size < CHUNK_BYTES:
            _, message = self._messages.popitem(last=False)
            lines.append(encode(message))
            size += len(lines[-1])
        return b"".join(lines)  # a large snapshot alone is not copied

    def clear(self) -> None:
        """Discard everything."""
        self._messages.clear()

    def _merged(self, message: MetricsLogged) -> MetricsLogged:
        waiting = self._messages.pop(self._metrics, None)
        return merge(waiting, message) if isinstance(waiting, MetricsLogged) else thin(message)


def thin(event: MetricsLogged, most: int = MAX_POINTS) -> MetricsLogged:
    """Return the event with at most `most` points in each series: a longer one as buckets."""
    if all(len(points.steps) <= most for points in event.series.values()):
        return event
    series = {name: _thinned(points, most) for name, points in event.series.items()}
    return event.model_copy(update={"series": series, "gap": True})


def merge(earlier: MetricsLogged, later: MetricsLogged) -> MetricsLogged:
    """Combine two events into one, thinned."""
    series = dict(earlier.series)
    for name, points in later.series.items():
        series[name] = _joined(series[name], points) if name in series else points
    update = {"series": series, "first_seq": earlier.first_seq, "gap": earlier.gap or later.gap}
    return thin(later.model_copy(update=update), MAX_WAITING_POINTS)


def _thinned(points: Points, most: int) -> Points:
    if len(points.steps) <= most:
        return points
    return Points.of_rows(thinned(points.rows(), most // 2)[0])


def _joined(first: Points, second: Points) -> Points:
    return Points.of_rows(join([first.rows(), second.rows()]))
