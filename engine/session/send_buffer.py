"""What waits to be sent to one client: metrics may be merged and telemetry replaced, nothing else is lost."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count

from pydantic import BaseModel

from torchconsole.engine.protocol.events import MetricsLogged, TelemetryMeasured
from torchconsole.engine.protocol.messages import encode
from torchconsole.engine.session.event_queue import ROUTINE
from torchconsole.engine.session.metrics_coalescing import merge, thin

CHUNK = 16 * 1024
"""Bytes handed to the transport at a time: what it has taken cannot be merged any more."""

_NONE = -1


class SendBuffer:
    """A queue whose length does not grow with the metrics that pass, however slow the client.

    Metrics that wait are merged into those that follow: past routine events, such as an evaluation's, but
    never past one that changes what the metrics mean, such as a resume or an applied command.
    """

    def __init__(self) -> None:
        self._messages: OrderedDict[int, BaseModel] = OrderedDict()
        self._keys = count()
        self._metrics = _NONE
        self._telemetry = _NONE

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: BaseModel) -> None:
        """Add a message at the end."""
        key = next(self._keys)
        if isinstance(message, MetricsLogged):
            message = self._with_waiting(message)
            self._metrics = key
        elif isinstance(message, TelemetryMeasured):
            self._messages.pop(self._telemetry, None)
            self._telemetry = key
        elif not isinstance(message, ROUTINE):
            self._metrics = _NONE
        self._messages[key] = message

    def take(self) -> bytes:
        """Lines to send next, about CHUNK bytes of them; empty when nothing waits."""
        chunk = bytearray()
        while self._messages and len(chunk) < CHUNK:
            _, message = self._messages.popitem(last=False)
            chunk += encode(message)
        return bytes(chunk)

    def clear(self) -> None:
        """Forget what waits."""
        self._messages.clear()

    def _with_waiting(self, message: MetricsLogged) -> MetricsLogged:
        waiting = self._messages.pop(self._metrics, None)
        return merge(waiting, message) if isinstance(waiting, MetricsLogged) else thin(message)
