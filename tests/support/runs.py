"""Runs without torch for the tests of the runtime: folders, a server in this process, raw clients."""

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

DEADLINE = 20.0

STARTED = ev.RunStarted(steps_per_epoch=100, total_epochs=10, total_steps=1000)
FINISHED = ev.RunFinished(status="finished", reason="all epochs done", step=1000, epoch=10)


def make_folder(runs_dir: Path, name: str = "digits-mlp", **fields: Any) -> RunFolder:
    """A run's folder as the launcher makes it; `fields` go into run.json."""
    folder = RunFolder.create(runs_dir, name)
    now = time.time()
    record = {"preset": name, "host": socket.gethostname(), "created": now, "updated": now, **fields}
    folder.write_record(RunRecord(folder.name, str(folder.path), **record))
    folder.preset_file.write_text('title = "A test"\n[optimizer]\nlr = 0.1\n', encoding="utf-8")
    return folder


def running(**fields: Any) -> dict[str, Any]:
    """What run.json says of a run at work on this machine."""
    return {"status": "running", "pid": 4_000_000, "boot_id": boot_id(), **fields}


def point(step: int, loss: float = 0.5, **more: float) -> MetricsPoint:
    """What the training logs at a step."""
    metrics = {"train/loss": loss, "lr": 0.1, **more}
    return MetricsPoint(step, 1 + step // 100, time.time(), step * 0.01, metrics)


def log_steps(event_queue: EventQueue, first: int, last: int) -> None:
    """Log every step from `first` to `last`."""
    for step in range(first, last + 1):
        event_queue.log(point(step, loss=1 / step))


def wait_until(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait for a condition; returns its value. For the time being there is a deadline."""
    deadline = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what or condition}"
        time.sleep(0.01)
    return value


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The objects in a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """The kernel lets no file of this process grow beyond `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Commands:
    """The queue that a server puts accepted commands into."""

    def __init__(self) -> None:
        self.taken: queue.SimpleQueue[tuple[str, Command, str]] = queue.SimpleQueue()

    def put(self, id: str, command: Command, by: str) -> None:
        self.taken.put((id, command, by))


class Served:
    """A server thread in this process, which plays the training thread."""

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
        """Whether a new client gets its snapshot."""
        async with raw_client(self.address) as client:
            return bool(await client.receive_snapshot())


class RawClient:
    """One end of a socket, a line at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, message: Any) -> None:
        """Send a message, or bytes as they are."""
        self._writer.write(message if isinstance(message, bytes) else encode(message))

    async def receive(self) -> WorkerMessage | None:
        """The next message; None when the worker hung up."""
        try:
            async with asyncio.timeout(DEADLINE):
                line = await self._reader.readline()
        except ConnectionError:
            return None
        return WORKER_MESSAGE.validate_json(line) if line else None

    async def receive_until(self, kind: type[Any]) -> list[Any]:
        """Messages up to the first of a kind, which is the last of the list."""
        heard: list[Any] = []
        while not heard or not isinstance(heard[-1], kind):
            message = await self.receive()
            assert message is not None, f"hung up before a {kind.__name__}; heard {heard}"
            heard.append(message)
        return heard

    async def receive_snapshot(self) -> Snapshot:
        """The snapshot, which follows the worker's hello."""
        assert isinstance(await self.receive(), WorkerHello)
        snapshot = await self.receive()
        assert isinstance(snapshot, Snapshot)
        return snapshot

    async def closing_reason(self) -> str:
        """The reason for which the worker hangs up now."""
        fault = (await self.receive_until(ProtocolFault))[-1]
        assert await self.receive() is None
        return str(fault.reason)


@asynccontextmanager
async def raw_client(address: Path, *, greet: bool = True) -> AsyncIterator[RawClient]:
    """A client that has said hello, unless told otherwise, and read nothing yet."""
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
    """A worker process that trains nothing: see standin_worker.py."""
    script = Path(__file__).with_name("standin_worker.py")
    with folder.log_file.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(script), str(folder.path), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
