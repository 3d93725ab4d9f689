"""Messages on the socket, both ways: one line of JSON each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from torchconsole.engine.protocol import PROTOCOL_VERSION
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import Event
from torchconsole.engine.protocol.json_text import dump_json
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import RunState

CLIENT_LINE_LIMIT = 64 * 1024
"""Longest line from a client, in bytes; no command comes near it."""

WORKER_LINE_LIMIT = 64 * 1024 * 1024
"""Longest line from a worker, in bytes; a snapshot of a long run has at most 150 kB a metric."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")


class ClientHello(_Message):
    """The first line from a client. `by` names its user, as `user@terminal`."""

    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL_VERSION
    by: str = ""


class CommandRequest(_Message):
    """A command with an id from its sender; a command that is sent twice with one id is applied once."""

    type: Literal["command"] = "command"
    id: str = Field(min_length=1, max_length=64)
    command: Command


class WorkerHello(_Message):
    """The first line from a worker. `lock` identifies the lock of the run that it serves."""

    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL_VERSION
    version: str
    run: str
    pid: int
    lock: str = ""


class Snapshot(_Message):
    """Everything up to now: the state, and the history of each metric, thinned."""

    type: Literal["snapshot"] = "snapshot"
    state: RunState
    history: dict[str, Points]


class ProtocolFault(_Message):
    """The last line to a client that cannot be served; `reason` says why."""

    type: Literal["fault"] = "fault"
    reason: str


ClientMessage = Annotated[ClientHello | CommandRequest, Field(discriminator="type")]
WorkerMessage = Annotated[WorkerHello | Snapshot | ProtocolFault | Event, Field(discriminator="type")]

CLIENT_MESSAGE: TypeAdapter[ClientMessage] = TypeAdapter(ClientMessage)
WORKER_MESSAGE: TypeAdapter[WorkerMessage] = TypeAdapter(WorkerMessage)


def encode(message: BaseModel) -> bytes:
    """Encode a message as one line, including the newline."""
    return dump_json(message).encode() + b"\n"


def is_unknown_kind(error: ValidationError) -> bool:
    """Whether the message is not invalid but of a kind that only a later version knows."""
    first = error.errors(include_url=False, include_input=False)[0]
    return first["type"] == "union_tag_invalid" and not first["loc"]


def explain(error: ValidationError) -> str:
    """Describe in one line what is wrong with a message."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
