"""Serves the clients of a run: exchanges hellos, queues commands, and sends events to every client."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from functools import cache
from importlib import metadata
from typing import Protocol

from pydantic import ValidationError
from pydantic_core import from_json

from torchconsole.engine.protocol import OLDEST_PROTOCOL, PROTOCOL_VERSION
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import Command, PauseRun, StopRun
from torchconsole.engine.protocol.messages import (
    CLIENT_MESSAGE,
    ClientHello,
    CommandRequest,
    ProtocolFault,
    WorkerHello,
    explain,
)
from torchconsole.engine.session.connection import Connection
from torchconsole.engine.session.event_store import EventStore

HELLO_SECONDS = 5.0
"""How long a client may take to send its hello."""

REFUSAL_SECONDS = 2.0
"""How long a client that is refused may take to read the reason."""

MAX_ANSWERS = 300
"""Number of answers kept, the newest ones: a client sends a command again once it has reconnected."""

Answer = ev.CommandAccepted | ev.CommandApplied | ev.CommandRejected


class CommandSink(Protocol):
    """Takes accepted commands, for the training thread to fetch."""

    def put(self, id: str, command: Command, by: str) -> None:
        """Add a command. Called in the server's thread; must not wait."""


class _FaultError(Exception):
    """A client sent something that cannot be answered; the message is the reason."""


class ClientManager:
    """Serves every client of one run, in the server's event loop.

    Each command is queued once; its latest answer is kept for a client that sends it again.
    """

    def __init__(self, store: EventStore, commands: CommandSink) -> None:
        self._store = store
        self._commands = commands
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        store.subscribe(self._broadcast)

    @property
    def is_watched(self) -> bool:
        """Whether any client is connected."""
        return bool(self._connections)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a new client until it disconnects."""
        task = asyncio.create_task(self._serve(Connection(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, timeout: float) -> None:
        """Close every connection once the client has read the last events, or after `timeout` seconds."""
        await asyncio.gather(*(connection.close(timeout) for connection in self._connections))

    def unanswered(self) -> list[str]:
        """Return the ids of commands that the training has not answered yet, oldest first."""
        return [id for id, answer in self._answers.items() if isinstance(answer, ev.CommandAccepted)]

    def _broadcast(self, event: ev.Event) -> None:
        if isinstance(event, ev.CommandApplied | ev.CommandRejected) and event.id in self._answers:
            self._answers[event.id] = event
        for connection in self._connections:
            connection.send(event)

    async def _serve(self, connection: Connection) -> None:
        try:
            await self._greet(connection)
            while line := await _next_line(connection):
                self._handle(connection, line)
        except _FaultError as fault:
            connection.send(ProtocolFault(reason=str(fault)))
        finally:
            if connection in self._connections:
                self._connections.discard(connection)
                self._tell_who_is_here()
            await connection.close(REFUSAL_SECONDS)

    async def _greet(self, connection: Connection) -> None:
        """Exchange hellos and send the snapshot; later events follow without a gap."""
        if connection.uid != os.getuid():
            raise _FaultError(f"this run belongs to another user (you are uid {connection.uid})")
        hello = await _read_hello(connection)
        connection.by = "".join(filter(str.isprintable, hello.by))[:64]
        version = _own_version()
        if hello.protocol < OLDEST_PROTOCOL:
            raise _FaultError(
                f"the run uses protocol {PROTOCOL_VERSION} and the client {hello.protocol}; "
                f"attach with torchconsole {version}"
            )
        protocol = min(hello.protocol, PROTOCOL_VERSION)
        connection.send(
            WorkerHello(
                protocol=protocol,
                version=version,
                run=self._store.state.name,
                pid=os.getpid(),
                lock=self._store.lock,
            )
        )
        self._store.drain()
        connection.send(self._store.snapshot())
        self._connections.add(connection)
        if len(self._connections) > 1:
            self._tell_who_is_here()

    def _tell_who_is_here(self) -> None:
        """Tell each client who else is connected."""
        for connection in self._connections:
            others = [other.by for other in self._connections if other is not connection]
            connection.send(ev.ClientsChanged(others=sorted(others)))

    def _handle(self, connection: Connection, line: bytes) -> None:
        try:
            message = CLIENT_MESSAGE.validate_json(line)
        except ValidationError as error:
            connection.send(ev.CommandRejected(id=_command_id(line, error), reason=explain(error)))
            return
        if isinstance(message, ClientHello):
            raise _FaultError("a second hello")
        connection.send(self._answer(message, connection.by))
        self._store.drain()

    def _answer(self, request: CommandRequest, by: str) -> ev.Event:
        self._store.drain()
        state = self._store.state
        # A client repeats a command that got no answer: an earlier worker of the run may have applied it.
        applied = (change for change in state.changes if change.id == request.id)
        if known := self._answers.get(request.id) or next(applied, None):
            return known
        if not state.is_live:
            reason = f"the run has ended: {state.status}" + (f" ({state.reason})" if state.reason else "")
            return ev.CommandRejected(id=request.id, reason=reason)
        self._announce(request.command)
        return self._queue(request, by)

    def _queue(self, request: CommandRequest, by: str) -> ev.CommandAccepted:
        accepted = ev.CommandAccepted(id=request.id)
        self._answers[request.id] = accepted
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        self._commands.put(request.id, request.command, by)
        return accepted

    def _announce(self, command: Command) -> None:
        """Announce a pause or a stop at once; the training applies it at the next step boundary."""
        status = self._store.state.status
        if isinstance(command, PauseRun) and status == "running":
            self._store.record(ev.PauseRequested())
        elif isinstance(command, StopRun) and status != "stopping":
            self._store.record(ev.StopRequested(reason=command.reason))


@cache
def _own_version() -> str:
    return metadata.version("torchconsole")


async def _read_hello(connection: Connection) -> ClientHello:
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            line = await _next_line(connection)
    except TimeoutError as error:
        raise _FaultError(f"no hello within {HELLO_SECONDS:g} s") from error
    try:
        return ClientHello.model_validate_json(line)
    except ValidationError as error:
        raise _FaultError(f"expected a hello: {explain(error)}") from error


async def _next_line(connection: Connection) -> bytes:
    try:
        return await connection.read_line()
    except ValueError as error:
        raise _FaultError("the line is too long") from error


def _command_id(line: bytes, error: ValidationError) -> str:
    """Return the id of a command that is invalid otherwise. Raises _FaultError if it has none."""
    try:
        found = from_json(line)
    except ValueError:
        found = None
    match found:
        case {"type": "command", "id": str(id)}:
            return id
    raise _FaultError(explain(error))
