"""Clients that send garbage, freeze or belong to another user do not affect the others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import subprocess
import sys

import pytest

from tests.support.runs import DEADLINE, STARTED, Served, log_steps, raw_client, wait_until
from torchconsole.engine.protocol import OLDEST_PROTOCOL, PROTOCOL_VERSION
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.messages import CLIENT_LINE_LIMIT, ClientHello, WorkerHello
from torchconsole.engine.session import client_manager, connection


@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b"\n",
        b"[1, 2]\n",
        b"\xff\xfe\n",
        b'{"type": "command"}\n',
        b'{"type": "hello"}\n',
        b"[" * 60_000 + b"\n",
    ],
    ids=["garbage", "empty", "list", "bytes", "no id", "second hello", "deep"],
)
async def test_a_client_that_sends_garbage_gets_a_reason_and_is_dropped(served: Served, line: bytes) -> None:
    async with raw_client(served.address) as other, raw_client(served.address) as client:
        await other.receive_snapshot()
        await client.receive_snapshot()
        client.send(line)
        assert await client.closing_reason()
        served.event_queue.emit(STARTED)
        assert await other.receive_until(ev.RunStarted), "others are not affected"


@pytest.mark.parametrize("greeting", [b"", b'{"type":"hello"}\n'], ids=["before hello", "after hello"])
async def test_an_endless_line_is_refused(served: Served, greeting: bytes) -> None:
    def send_endless_line() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE)
            client.connect(str(served.address))
            with contextlib.suppress(ConnectionError):
                client.sendall(greeting + b"x" * (16 * CLIENT_LINE_LIMIT))
            received = b""
            with contextlib.suppress(ConnectionError):
                while more := client.recv(65536):
                    received += more
            return received

    assert b"the line is too long" in await asyncio.to_thread(send_endless_line)
    assert await served.is_serving()


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\n", b'{"type": "command", "id": "1"}\n'])
async def test_a_client_without_a_hello_is_not_served(served: Served, line: bytes) -> None:
    async with raw_client(served.address, greet=False) as client:
        client.send(line)
        assert await client.closing_reason()
    assert await served.is_serving()


@pytest.mark.parametrize("half", [b"", b'{"type": "hel'])
async def test_a_silent_client_is_dropped(
    served: Served, half: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_manager, "HELLO_SECONDS", 0.1)
    async with raw_client(served.address, greet=False) as client:
        client.send(half)
        assert "no hello within" in await client.closing_reason()


async def test_a_client_with_too_old_a_protocol_is_refused_with_the_reason(served: Served) -> None:
    async with raw_client(served.address, greet=False) as client:
        client.send(ClientHello(protocol=OLDEST_PROTOCOL - 1))
        reason = await client.closing_reason()
    assert f"protocol {PROTOCOL_VERSION}" in reason
    assert "torchconsole 0" in reason


async def test_a_newer_client_is_answered_with_the_protocol_of_the_run(served: Served) -> None:
    async with raw_client(served.address, greet=False) as client:
        client.send(ClientHello(protocol=PROTOCOL_VERSION + 1))
        hello = await client.receive()
        assert isinstance(hello, WorkerHello)
        assert hello.protocol == PROTOCOL_VERSION


async def test_a_client_that_freezes_is_dropped_and_others_lose_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(connection, "CROWDED_SECONDS", 60.0)  # a busy machine reads slowly
    served.event_queue.emit(STARTED)
    frozen = socket.socket(socket.AF_UNIX)
    frozen.connect(str(served.address))
    frozen.sendall(b'{"type":"hello"}\n')
    async with raw_client(served.address) as other:
        await other.receive_snapshot()
        text = "x" * 1000
        for number in range(2000):
            served.event_queue.emit(ev.LogWritten(message=text))
            log_steps(served.event_queue, 10 * number + 1, 10 * number + 10)
            if number % 100 == 0:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(wait_until, lambda: _is_closed(frozen), "the drop")
        served.event_queue.emit(ev.RunPaused(step=1))
        received = await other.receive_until(ev.RunPaused)
        assert sum(isinstance(event, ev.LogWritten) for event in received) == 2000
    frozen.close()


def _is_closed(peer: socket.socket) -> bool:
    """Whether the other end has closed, without reading what it sent."""
    poll = select.poll()
    poll.register(peer, select.POLLHUP)
    return bool(poll.poll(0))


async def test_a_client_too_far_behind_is_dropped(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CROWDED_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(served.address))
        client.sendall(b'{"type":"hello"}\n')
        await asyncio.to_thread(wait_until, lambda: served.server._clients.is_watched, "the greeting")
        for _ in range(2000):
            served.event_queue.emit(ev.LogWritten(message="x" * 1000))
        await asyncio.to_thread(wait_until, lambda: _is_closed(client), "the drop")
    assert await served.is_serving()


async def test_a_burst_does_not_drop_a_client_that_reads(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with raw_client(served.address) as client:
        await client.receive_snapshot()
        for _ in range(5000):
            served.event_queue.emit(ev.LogWritten(message="x" * 1000))
        served.event_queue.emit(ev.RunPaused(step=1))
        received = await client.receive_until(ev.RunPaused)
        assert sum(isinstance(event, ev.LogWritten) for event in received) == 5000


CONNECT_AS_NOBODY = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
print(peer.makefile().readline())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_is_refused_even_if_file_permissions_allow_access(served: Served) -> None:
    def attempt() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-S", "-c", CONNECT_AS_NOBODY, str(served.address)],
            capture_output=True,
            text=True,
        )

    assert "PermissionError" in attempt().stderr
    for path in (served.address.parent.parent, served.address.parent, served.address):
        path.chmod(0o777)
    assert "another user" in attempt().stdout
