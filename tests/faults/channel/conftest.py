"""Fixtures for the tests of the channel: stand-in workers in processes of their own, with real sockets."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.runs import start_standin, wait_until
from torchconsole.engine.client.client import RunClient
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.run.folder import RunFolder

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(autouse=True)
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for sockets that other users can enter, like /tmp."""
    with TemporaryDirectory(prefix="tc-", dir="/tmp") as root:
        Path(root).chmod(0o755)
        monkeypatch.setenv("TORCHCONSOLE_SOCKETS", root)
        yield Path(root)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start stand-in workers and wait until they listen; they are killed after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start_worker(folder: RunFolder, *options: str) -> subprocess.Popen[bytes]:
        started.append(start_standin(folder, *options))
        wait_until(lambda: folder.load_record().pid == started[-1].pid, "the worker")
        return started[-1]

    yield start_worker
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def address(folder: RunFolder) -> Path:
    """Return the path of the run's socket."""
    return Path(folder.load_record().socket)


def start_again(folder: RunFolder, start: Start) -> subprocess.Popen[bytes]:
    """Start another worker for the run, as a resume does."""
    record = folder.load_record()
    record.status, record.pid = "starting", None
    folder.write_record(record)
    return start(folder)


async def next_metrics(client: RunClient) -> ev.MetricsLogged:
    """Return the next metrics that the client receives."""
    async with asyncio.timeout(20):
        async for event in client.events():
            if isinstance(event, ev.MetricsLogged):
                return event
    raise AssertionError("the run ended")
