"""Runs without torch: run folders, a server in this process, raw clients, stand-in workers."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import resource
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from torchconsole.engine.client.client import RunClient
from torchconsole.engine.client.live_client import LiveClient
from torchconsole.engine.client.steady_client import SteadyClient
from torchconsole.engine.client.wire import Wire
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.messages import (
    WORKER_MESSAGE,
    ClientHello,
    ProtocolFault,
    Snapshot,
    WorkerHello,
    WorkerMessage,
    encode,
)
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock, boot_id
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.server import ServerThread

DEADLINE = 60.0

STARTED = ev.RunStarted(steps_per_epoch=100, total_epochs=10, total_steps=1000)
FINISHED = ev.RunFinished(status="finished", reason="all epochs done", step=1000, epoch=10)


def make_folder(runs_dir: Path, name: str = "digits-mlp", **fields: Any) -> RunFolder:
    """Make a run folder as the launcher does; `fields` go into run.json."""
    folder = RunFolder.create(runs_dir, name)
    now = time.time()
    record = {"preset": name, "host": socket.gethostname(), "created": now, "updated": now, **fields}
    folder.write_record(RunRecord(folder.name, str(folder.path), **record))
    folder.preset_file.write_text('title = "A test"\n[optimizer]\nlr = 0.1\n', encoding="utf-8")
    return folder


def running(**fields: Any) -> dict[str, Any]:
    """Return the run.json fields of a run that is running on this machine."""
    return {"status": "running", "pid": 4_000_000, "boot_id": boot_id(), **fields}


def point(step: int, loss: float = 0.5, **more: float) -> MetricsPoint:
    """Return metrics as the training logs them at a step."""
    metrics = {"train/loss": loss, "lr": 0.1, **more}
    return MetricsPoint(step, 1 + step // 100, time.time(), step * 0.01, metrics)


def log_steps(event_queue: EventQueue, first: int, last: int) -> None:
    """Log every step from `first` to `last`."""
    for step in range(first, last + 1):
        event_queue.log(point(step, loss=1 / step))


def wait_until(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait until `condition()` is true and return its value; fail with `what` after DEADLINE seconds."""
    deadline = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {what or condition}"
        time.sleep(0.01)
    return value


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Read the objects in a .jsonl file; a last line that is still being written is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


@contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Commands:
    """The queue into which a server puts accepted commands."""

    def __init__(self) -> None:
        self.taken: queue.SimpleQueue[tuple[str, Command, str]] = queue.SimpleQueue()

    def put(self, id: str, command: Command, by: str) -> None:
        self.taken.put((id, command, by))


class Served:
    """A server thread in this process; the test plays the training thread."""

    def __init__(self, folder: RunFolder, **state: Any) -> None:
        self.folder = folder
        self.commands = Commands()
        self.lock = WorkerLock(folder.lock_file)
        self.server = ServerThread(
            folder, RunState(name=folder.name, folder=str(folder.path), **state), self.commands
        )
        self.event_queue = self.server.event_queue

    def __enter__(self) -> Served:
        self.lock.acquire()
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        self.lock.release()

    @property
    def address(self) -> Path:
        return Path(self.folder.load_record().socket)

    async def is_serving(self) -> bool:
        """Return whether a new client receives its snapshot."""
        async with raw_client(self.address) as client:
            return bool(await client.receive_snapshot())


class RawClient:
    """The client's end of a worker's socket, one message at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, message: Any) -> None:
        """Send a message, or raw bytes."""
        self._writer.write(message if isinstance(message, bytes) else encode(message))

    async def receive(self) -> WorkerMessage | None:
        """Return the next message; None if the worker closed the connection."""
        try:
            async with asyncio.timeout(DEADLINE):
                line = await self._reader.readline()
        except ConnectionError:
            return None
        return WORKER_MESSAGE.validate_json(line) if line else None

    async def receive_until(self, kind: type[Any]) -> list[Any]:
        """Return the messages up to and including the first of a kind."""
        received: list[Any] = []
        while not received or not isinstance(received[-1], kind):
            message = await self.receive()
            assert message is not None, f"connection closed before a {kind.__name__}; received {received}"
            received.append(message)
        return received

    async def receive_snapshot(self) -> Snapshot:
        """Receive the worker's hello and return the snapshot that follows it."""
        assert isinstance(await self.receive(), WorkerHello)
        snapshot = await self.receive()
        assert isinstance(snapshot, Snapshot)
        return snapshot

    async def closing_reason(self) -> str:
        """Return the reason that the worker sends before it closes the connection."""
        fault = (await self.receive_until(ProtocolFault))[-1]
        assert await self.receive() is None
        return str(fault.reason)


@asynccontextmanager
async def raw_client(address: Path, *, greet: bool = True) -> AsyncIterator[RawClient]:
    """Connect a client that has sent its hello (unless `greet` is False) and received nothing yet."""
    reader, writer = await asyncio.open_unix_connection(str(address), limit=2**26)
    try:
        client = RawClient(reader, writer)
        if greet:
            client.send(ClientHello(by="tester@pts/7"))
        yield client
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def start_standin(folder: RunFolder, *options: str) -> subprocess.Popen[bytes]:
    """Start a worker process that needs no torch: see standin_worker.py."""
    script = Path(__file__).with_name("standin_worker.py")
    with folder.log_file.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(script), str(folder.path), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


def live_client_of(client: RunClient) -> LiveClient:
    """Return the client of the worker that `connect` has made."""
    assert isinstance(client, SteadyClient)
    assert isinstance(client.current, LiveClient)
    return client.current


def wire_of(client: RunClient) -> Wire:
    """Return a client's present connection to the worker."""
    return live_client_of(client)._wire
