"""Clients that freeze, read slowly or send garbage: other clients and the worker's memory are unaffected."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.faults.channel.conftest import Start, address, next_metrics
from tests.support.fault_counts import count
from tests.support.runs import make_folder, wait_until
from torchconsole.engine.client import connect
from torchconsole.engine.client.client import RunClient
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import SetLearningRate
from torchconsole.engine.protocol.messages import (
    WORKER_MESSAGE,
    ClientHello,
    Snapshot,
    WorkerMessage,
    encode,
)
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.session.client_manager import HELLO_SECONDS

MIB = 2**20
STEPS_IN_A_MINUTE = 60 * 100
"""The stand-in worker logs about a hundred steps a second."""

FROZEN = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.sendall(b'{"type":"hello"}\\n')
print(peer.recv(100), flush=True)
input()
"""


@pytest.fixture(autouse=True)
def returned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the C library return every large block that the worker frees.

    By default it keeps such blocks once the first is freed, for the next ones: up to 12 MB here, which would
    hide what the worker itself holds.
    """
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")


async def test_frozen_clients_are_dropped_and_the_workers_memory_stays_flat(
    tmp_path: Path, start: Start
) -> None:
    folder = make_folder(tmp_path)
    worker = start(folder, "--chatty")
    async with connect(folder) as observer:
        first = await next_metrics(observer)
        await asyncio.to_thread(wait_until, lambda: folder.load_record().step > 600, "a full log")
        before = anonymous_memory(worker.pid)
        for _ in range(1 + count(20)):
            memory = await asyncio.to_thread(freeze_five, folder, worker.pid)
            assert memory - before < 5 * MIB, "what is queued for clients is bounded, and freed"
        await assert_complete(observer, first.seq, until=folder.load_record().seq)


def freeze_five(folder: RunFolder, pid: int) -> int:
    """Connect and freeze five clients until the worker drops them; returns the worker's memory in bytes."""
    command = [sys.executable, "-S", "-c", FROZEN, str(address(folder))]
    clients = [subprocess.Popen(command, stdin=PIPE, stdout=PIPE) for _ in range(5)]
    try:
        for client in clients:
            assert client.stdout
            assert client.stdout.readline()
            client.send_signal(signal.SIGSTOP)
        assert peers(pid, address(folder)) == 6
        wait_until(lambda: peers(pid, address(folder)) == 1, "the worker to drop them")
        return anonymous_memory(pid)
    finally:
        for client in clients:
            client.kill()
            client.communicate()


def test_a_slow_client_stays_connected_and_memory_stays_flat_for_an_hour(
    tmp_path: Path, start: Start
) -> None:
    """Its metrics are thinned, and each gap is reported. The worker runs at a hundred times its speed."""
    folder = make_folder(tmp_path)
    worker = start(folder, "--fast")
    wait_until(lambda: folder.load_record().step > STEPS_IN_A_MINUTE, "a full history")
    start_step = folder.load_record().step
    until = start_step + count(60) * STEPS_IN_A_MINUTE
    last = gaps = before = 0
    for message in read_slowly(address(folder)):
        if isinstance(message, Snapshot):
            last = message.state.seq
        elif isinstance(message, ev.MetricsLogged):
            assert message.first_seq == last + 1, "no event is missing"
            last, gaps = message.seq, gaps + message.gap
            if not before and message.step > start_step + STEPS_IN_A_MINUTE:
                before = anonymous_memory(worker.pid)  # with what is queued for this client
            if message.step > until:
                break
    assert last > until, "it was dropped"
    assert gaps
    assert before
    assert anonymous_memory(worker.pid) - before < MIB


def read_slowly(address: Path) -> Iterator[WorkerMessage]:
    """Yield what a client receives that reads 4 kB a second, in seconds of 0.1 s."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(address))
        client.sendall(encode(ClientHello()))
        rest = b""
        while data := client.recv(4000):
            *lines, rest = (rest + data).split(b"\n")
            yield from map(WORKER_MESSAGE.validate_json, lines)
            time.sleep(0.1)


def anonymous_memory(pid: int) -> int:
    """Return the anonymous memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]) * 1024


def peers(pid: int, address: Path) -> int:
    """Count the connections that a worker serves: its sockets at this address without the listening one."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            inodes.add(descriptor.readlink().name.removeprefix("socket:[").removesuffix("]"))
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    served = [line for line in lines if line[6] in inodes and line[-1].startswith(str(address.parent))]
    return len(served) - 1


async def assert_complete(client: RunClient, seen: int, until: int) -> None:
    """Assert that the client receives every event number after `seen` up to `until`."""
    covered: set[int] = set()
    async with asyncio.timeout(30):
        async for event in client.events():
            covered.update(range(getattr(event, "first_seq", event.seq), event.seq + 1))
            if event.seq >= until:
                break
    assert covered.issuperset(range(seen + 1, until + 1))


GARBAGE = (
    b"x" * MIB,
    b"garbage\n",
    b'{"type":"hel',
    b"",
    b'{"type":"hello"}\n' + b"x" * MIB,
    b'{"type":"hello"}\ngarbage\n',
    b'{"type":"hello"}\n{"type":"command","id":"1"',
    bytes(range(256)) * 40,
)


async def test_garbage_and_silence_affect_no_other_client(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    worker = start(folder)
    async with connect(folder) as observer:
        first = await next_metrics(observer)
        answers = await asyncio.gather(*(asyncio.to_thread(send_garbage, folder, text) for text in GARBAGE))
        for text, answer in zip(GARBAGE, answers, strict=True):
            assert b'"type":"fault"' in answer or text.endswith(b'"1"'), text[:40]
        wait_until(lambda: peers(worker.pid, address(folder)) == 1, "the worker to close their connections")
        await assert_complete(observer, first.seq, until=folder.load_record().seq)
        assert await observer.send(SetLearningRate(factor=0.5))


def send_garbage(folder: RunFolder, text: bytes) -> bytes:
    """Send `text`, then nothing; returns the answer. A client with a valid hello disconnects itself."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(HELLO_SECONDS + 10)
        client.connect(str(address(folder)))
        with contextlib.suppress(ConnectionError):
            client.sendall(text)
        received = b""
        with contextlib.suppress(ConnectionError):
            while more := client.recv(65536):
                received += more
                if text.endswith(b'"1"') and b"MetricsLogged" in received:
                    break
        return received
