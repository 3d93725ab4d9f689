"""A client refuses whatever answers at the socket of a run's record, unless it is that very run."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.runs import STARTED, Served, make_folder, wire_of
from torchconsole.engine.client import connect, live_client, wire
from torchconsole.engine.client.client import event_stream
from torchconsole.engine.errors import RunError, WrongRunError
from torchconsole.engine.protocol.messages import Snapshot, WorkerHello, encode
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock, lock_id
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.sockets import listen_at
from torchconsole.tui.run_session import RunSession
from torchconsole.tui.state import ConsoleState

ANOTHER = "the socket in its run.json belongs to another run"


@pytest.fixture
def forged(served: Served, tmp_path: Path) -> RunFolder:
    """A run that seems to be starting, whose record names the socket of another run of the same user."""
    address = str(served.address)
    return make_folder(tmp_path / "theirs", pid=None, socket=address, updated=time.time())


async def test_a_record_with_the_socket_of_another_run_is_refused(served: Served, forged: RunFolder) -> None:
    served.event_queue.emit(STARTED)
    with pytest.raises(WrongRunError, match=f"{forged.name}: {ANOTHER}, {served.folder.name}"):
        async with connect(forged):
            pass
    with pytest.raises(WrongRunError, match=ANOTHER):
        async for _ in event_stream(forged):
            pass
    assert served.commands.taken.empty()


@pytest.mark.parametrize("lock", ["none", "a copy", "a link"])
async def test_a_copied_lock_does_not_help(served: Served, forged: RunFolder, lock: str) -> None:
    if lock == "a copy":
        shutil.copy(served.folder.lock_file, forged.lock_file)
    elif lock == "a link":
        forged.lock_file.symlink_to(served.folder.lock_file)
    with pytest.raises(WrongRunError):
        async with connect(forged):
            pass


async def test_a_run_is_found_under_every_path_of_its_folder(served: Served, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(served.folder.path)
    renamed = RunFolder(served.folder.path.rename(tmp_path / "renamed"))
    for folder in (renamed, RunFolder(tmp_path / "renamed" / ".." / "renamed")):
        async with connect(folder) as client:
            assert client.live
    renamed.path.rename(served.folder.path)
    async with connect(RunFolder(tmp_path / "link")) as client:
        assert client.live


async def test_another_run_is_refused_after_a_reconnection_too(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Served(make_folder(tmp_path, "other")) as other:
        read = RunFolder.read_record

        def forged(folder: RunFolder) -> RunRecord:
            return replace(read(folder), socket=str(other.address))

        async with connect(served.folder) as client:
            monkeypatch.setattr(RunFolder, "read_record", forged)
            wire_of(client)._writer.transport.abort()
            with pytest.raises(WrongRunError, match=ANOTHER):
                async for _ in client.events():
                    pass
            assert not client.live


async def test_the_console_shows_the_refusal(forged: RunFolder) -> None:
    state = ConsoleState(RunState(name=forged.name, folder=str(forged.path)))
    await RunSession(lambda progress: connect(forged, progress=progress), state, lambda: None).follow()
    assert (state.connection, ANOTHER in state.connection_error) == ("closed", True)


async def test_a_worker_with_a_full_queue_is_not_taken_for_another_user(
    tmp_path: Path, socket_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_client, "CONNECT_SECONDS", 0.1)
    address = socket_root / "busy.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(address))
        busy.listen(0)
        waiting.connect(str(address))
        folder = make_folder(tmp_path, pid=None, socket=str(address), updated=time.time())
        with pytest.raises(RunError, match="too many clients"):
            async with connect(folder):
                pass


Answer = Callable[[str], bytes]

HELLO = {"type": "hello", "protocol": 2, "version": "0", "run": "x", "pid": 1}
DEEP = b"[" * 100_000 + b"]" * 100_000

HOSTILE_WORKERS: dict[str, bytes] = {
    "nothing": b"",
    "an empty line": b"\n",
    "text": b"220 mail.example ESMTP\r\n",
    "not UTF-8": b"\xff\xfe\xfd\n",
    "zeros": bytes(1000) + b"\n",
    "deep nesting": DEEP + b"\n",
    "deep nesting in a hello": b'{"type":"hello","x":' + DEEP + b"}\n",
    "half a line": b'{"type":"hel',
    "a hello of wrong types": b'{"type":"hello","protocol":"x","version":[],"run":{},"pid":-1}\n',
    "a later protocol": json.dumps({**HELLO, "protocol": 99}).encode() + b"\n",
    "a huge number": b'{"type":"hello","protocol":' + b"9" * 5000 + b"}\n",
    "a snapshot first": encode(Snapshot(state=RunState(name="x", folder="/x"), history={})),
    "an endless line": b"x" * 20_000,
}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunFolder]:
    """A run whose lock is held here, so that its record may say that it is running."""
    folder = make_folder(tmp_path, status="running", pid=1)
    lock = WorkerLock(folder.lock_file)
    lock.acquire()
    yield folder
    lock.release()


@asynccontextmanager
async def answering(folder: RunFolder, address: Path, data: bytes, *, stay: bool) -> AsyncIterator[None]:
    """Answer at the run's socket with `data`, and then stay silent or hang up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if stay:
            await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(answer, sock=listen_at(address))
    folder.write_record(replace(folder.load_record(), socket=str(address)))
    yield
    server.close()


@pytest.mark.parametrize("stay", [False, True], ids=["hangs up", "stays"])
@pytest.mark.parametrize("data", HOSTILE_WORKERS.values(), ids=HOSTILE_WORKERS)
async def test_whatever_a_worker_sends_is_one_error(
    data: bytes, stay: bool, live: RunFolder, socket_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_client, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(wire, "HELLO_SECONDS", 0.2)
    monkeypatch.setattr(wire, "WORKER_LINE_LIMIT", 10_000)
    async with answering(live, socket_root / "s" / "x.sock", data, stay=stay):
        try:
            async with connect(live) as client:
                problem = client.read_only
        except RunError as error:
            problem = str(error)
    assert problem
    assert problem.isprintable()
    assert len(problem) < 1000


async def test_a_worker_that_hangs_up_again_and_again_is_not_called_all_the_time(
    live: RunFolder, socket_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_client, "RECONNECT_SECONDS", 0.1)
    hello = encode(WorkerHello(version="0", run=live.name, pid=1, lock=lock_id(live.lock_file)))
    snapshot = encode(
        Snapshot(state=RunState(name=live.name, folder=str(live.path), status="running"), history={})
    )
    async with (
        answering(live, socket_root / "s" / "x.sock", hello + snapshot, stay=False),
        connect(live) as client,
    ):
        began = time.monotonic()
        events = client.events()
        for _ in range(4):
            assert isinstance(await anext(events), Snapshot)
    assert time.monotonic() - began >= 0.3


WRONG_STATES = (
    {"step": -1}, {"step": 2**63}, {"created": 1e300}, {"active_seconds": "NaN"}, {"metrics": {"lr": "x"}},
    {"changes": [{"type": "CommandApplied", "id": "1", "step": 1, "command": {"type": "PauseRun"},
                  "result": {"lr": "x"}}]},
    {"last_confusion": {"step": 1, "epoch": 1, "metrics": {}, "seconds": 1,
                        "confusion": {"classes": ["a"], "counts": [[1, 2]]}}},
    {"schedule": {"scheduled": {"steps": [1, 2], "values": [1.0]}}},
)  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_STATES)
async def test_a_state_that_cannot_be_shown_is_refused(
    wrong: dict[str, object], live: RunFolder, socket_root: Path
) -> None:
    hello = encode(WorkerHello(version="0", run=live.name, pid=1, lock=lock_id(live.lock_file)))
    state = {"name": live.name, "folder": str(live.path), "status": "running", **wrong}
    snapshot = json.dumps({"type": "snapshot", "state": state, "history": {}}).encode() + b"\n"
    async with (
        answering(live, socket_root / "s" / "x.sock", hello + snapshot, stay=True),
        connect(live) as client,
    ):
        assert "does not understand: snapshot.state." in client.read_only
