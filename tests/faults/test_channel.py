"""Sockets that are stale or gone, other users, clients that freeze or talk nonsense, and other versions.

Worker and clients are processes of their own with real sockets between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryDirectory

import pytest

from tests.support.fault_counts import count
from tests.support.runs import lines_of, make_folder, raw_client, start_standin, wait_until
from torchconsole.engine.client import connect, recorded_client
from torchconsole.engine.client.client import RunClient
from torchconsole.engine.protocol import OLDEST_PROTOCOL, PROTOCOL_VERSION
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import PauseRun, SetLearningRate
from torchconsole.engine.protocol.messages import (
    WORKER_MESSAGE,
    ClientHello,
    CommandRequest,
    Snapshot,
    WorkerMessage,
    encode,
)
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.session.client_manager import HELLO_SECONDS
from torchconsole.tui.cli.send import send

NOBODY = 65534
MIB = 2**20
STEPS_IN_A_MINUTE = 60 * 100
"""At a hundred a second."""

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(autouse=True)
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for sockets that other users can get to, as /tmp is."""
    with TemporaryDirectory(prefix="tc-", dir="/tmp") as root:
        Path(root).chmod(0o755)
        monkeypatch.setenv("TORCHCONSOLE_SOCKETS", root)
        yield Path(root)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers and waits until their socket is there; they end with the test."""
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
    return Path(folder.load_record().socket)


def start_again(folder: RunFolder, start: Start) -> subprocess.Popen[bytes]:
    """Another worker for the run, as a resume starts it."""
    record = folder.load_record()
    record.status, record.pid = "starting", None
    folder.write_record(record)
    return start(folder)


async def next_metrics(client: RunClient) -> ev.MetricsLogged:
    async with asyncio.timeout(20):
        async for event in client.events():
            if isinstance(event, ev.MetricsLogged):
                return event
    raise AssertionError("the run ended")


def run_worker(folder: RunFolder) -> subprocess.CompletedProcess[str]:
    """The real worker, where it ends before it needs torch."""
    command = [sys.executable, "-P", "-m", "torchconsole.engine.worker.main", str(folder.path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


async def test_a_stale_socket_is_replaced(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    first = start(folder)
    stale = address(folder)
    first.kill()
    first.wait()
    assert stale.is_socket()
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(stale))
    second = start_again(folder, start)
    assert address(folder) == stale
    async with connect(folder) as client:
        assert client.snapshot.state.pid == second.pid


async def test_a_second_worker_is_refused_and_the_first_untouched(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    first = start(folder)
    inode = address(folder).stat().st_ino
    async with connect(folder) as client:
        before = await next_metrics(client)
        refused = await asyncio.to_thread(run_worker, folder)
        assert refused.returncode == 2
        assert f"the run already has a worker (pid {first.pid})" in refused.stderr
        after = await next_metrics(client)
        assert after.first_seq == before.seq + 1 or after.seq > before.seq
    assert (folder.load_record().pid, address(folder).stat().st_ino) == (first.pid, inode)
    assert folder.read_record().status == "running"


async def test_a_deleted_socket_is_made_anew_while_clients_stay(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    start(folder)
    async with connect(folder) as client:
        address(folder).unlink()
        await asyncio.to_thread(wait_until, lambda: address(folder).is_socket(), "the socket")
        async with connect(folder) as late:
            await next_metrics(late)
        assert await client.send(SetLearningRate(factor=0.5))


async def test_a_short_path_is_chosen_for_a_long_one(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    monkeypatch.setenv("TORCHCONSOLE_SOCKETS", str(deep))
    folder = make_folder(deep)
    start(folder)
    assert len(bytes(address(folder))) <= 107
    async with connect(folder) as client:
        assert await client.send(SetLearningRate(factor=0.5))


ANOTHER_USER = """
import asyncio, os, sys
from pathlib import Path
from torchconsole.engine.client import connect
from torchconsole.engine.run.registry import list_runs
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.protocol.commands import PauseRun
import torchconsole.engine.client.client, torchconsole.engine.run.registry, pydantic.json_schema

async def look(folder):
    async with connect(folder) as client:
        print(client.snapshot.state.status, client.live)
        try:
            await client.send(PauseRun())
        except Exception as error:
            print(error)

async def main():
    asyncio.get_running_loop().run_in_executor(None, str)
    os.setgid(65534); os.setuid(65534)
    folder = RunFolder(Path(sys.argv[1]))
    await look(folder)
    print(*(run.name for run in list_runs(folder.path.parent)))

asyncio.run(main())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_another_user_sees_the_files_and_steers_nothing(sockets: Path, start: Start) -> None:
    folder = make_folder(sockets / "runs")
    start(folder)
    wait_until(lambda: folder.load_record().status == "running", "the first steps")

    def visit() -> list[str]:
        visit = [sys.executable, "-c", ANOTHER_USER, str(folder.path)]
        done = subprocess.run(visit, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert await asyncio.to_thread(visit) == [
        "running True",
        "PauseRun cannot be sent: the run belongs to another user",
        folder.name,
    ]
    for path in (address(folder).parent, address(folder)):
        path.chmod(0o777)
    wide_open = await asyncio.to_thread(visit)
    assert "another user" in wide_open[1]
    assert not folder.journal_file.exists() or not lines_of(folder.journal_file)


@pytest.mark.parametrize("harm", ["written", "owned", "linked"])
def test_a_socket_folder_that_others_may_write_is_refused(tmp_path: Path, sockets: Path, harm: str) -> None:
    if harm == "owned" and os.getuid() != 0:
        pytest.skip("only root can make a folder another user's")
    theirs = sockets / f"torchconsole-{os.getuid()}"
    if harm == "linked":
        theirs.symlink_to(tmp_path)
    else:
        theirs.mkdir()
        theirs.chmod(0o770 if harm == "written" else 0o700)
    if harm == "owned":
        os.chown(theirs, NOBODY, NOBODY)
    folder = make_folder(tmp_path)
    folder.preset_file.write_text((Path(__file__).parents[2] / "presets" / "digits-mlp.toml").read_text())
    refused = run_worker(folder)
    assert refused.returncode == 2
    assert str(theirs) in refused.stderr
    assert folder.read_record().status == "failed"


FROZEN = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.sendall(b'{"type":"hello"}\\n')
print(peer.recv(100), flush=True)
input()
"""


async def test_clients_that_freeze_are_dropped_and_memory_stays_flat(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    worker = start(folder, "--chatty")
    async with connect(folder) as witness:
        first = await next_metrics(witness)
        await asyncio.to_thread(wait_until, lambda: folder.load_record().step > 600, "a full log")
        before = anonymous_memory(worker.pid)
        for _ in range(1 + count(20)):
            memory = await asyncio.to_thread(freeze_five, folder, worker.pid)
            assert memory - before < 10 * MIB, "what waits for clients is bounded, and given back"
        await assert_complete(witness, first.seq, until=folder.load_record().seq)


def freeze_five(folder: RunFolder, pid: int) -> int:
    """Five clients are greeted, stopped, and dropped by the worker, whose memory is returned, in bytes."""
    command = [sys.executable, "-S", "-c", FROZEN, str(address(folder))]
    clients = [subprocess.Popen(command, stdin=PIPE, stdout=PIPE) for _ in range(5)]
    try:
        for client in clients:
            assert client.stdout
            assert client.stdout.readline()
            client.send_signal(signal.SIGSTOP)
        assert peers(pid, address(folder)) == 6
        wait_until(lambda: peers(pid, address(folder)) == 1, "the drop")
        return anonymous_memory(pid)
    finally:
        for client in clients:
            client.kill()
            client.communicate()


def test_a_client_that_reads_slowly_is_kept_and_memory_stays_flat_for_an_hour(
    tmp_path: Path, start: Start
) -> None:
    """Its metrics are thinned, and each time it is told so: the hour passes a hundred times as fast."""
    folder = make_folder(tmp_path)
    worker = start(folder, "--fast")
    wait_until(lambda: folder.load_record().step > STEPS_IN_A_MINUTE, "a full history")
    before = anonymous_memory(worker.pid)
    until = folder.load_record().step + count(60) * STEPS_IN_A_MINUTE
    last = gaps = 0
    for message in read_slowly(address(folder)):
        if isinstance(message, Snapshot):
            last = message.state.seq
        elif isinstance(message, ev.MetricsLogged):
            assert message.first_seq == last + 1, "nothing is left out"
            last, gaps = message.seq, gaps + message.gap
            if message.step > until:
                break
    assert last > until, "it was not dropped"
    assert gaps
    assert anonymous_memory(worker.pid) - before < 2 * MIB


def read_slowly(address: Path) -> Iterator[WorkerMessage]:
    """What a client hears that reads 4 kB a second, a second being a tenth of one."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(address))
        client.sendall(encode(ClientHello()))
        rest = b""
        while data := client.recv(4000):
            *lines, rest = (rest + data).split(b"\n")
            yield from map(WORKER_MESSAGE.validate_json, lines)
            time.sleep(0.1)


def anonymous_memory(pid: int) -> int:
    """Bytes of a process's own memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]) * 1024


def peers(pid: int, address: Path) -> int:
    """How many connections a worker serves: its sockets but for the listening one and the loop's own pair."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            inodes.add(descriptor.readlink().name.removeprefix("socket:[").removesuffix("]"))
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    served = [line for line in lines if line[6] in inodes and line[-1].startswith(str(address.parent))]
    return len(served) - 1


async def assert_complete(client: RunClient, seen: int, until: int) -> None:
    """What the client hears after the number `seen` has no hole, up to the number `until`."""
    covered: set[int] = set()
    async with asyncio.timeout(30):
        async for event in client.events():
            covered.update(range(getattr(event, "first_seq", event.seq), event.seq + 1))
            if event.seq >= until:
                break
    assert covered.issuperset(range(seen + 1, until + 1))


NONSENSE = (
    b"x" * MIB,
    b"garbage\n",
    b'{"type":"hel',
    b"",
    b'{"type":"hello"}\n' + b"x" * MIB,
    b'{"type":"hello"}\ngarbage\n',
    b'{"type":"hello"}\n{"type":"command","id":"1"',
    bytes(range(256)) * 40,
)


async def test_nonsense_and_silence_harm_nobody_else(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    worker = start(folder)
    async with connect(folder) as witness:
        first = await next_metrics(witness)
        answers = await asyncio.gather(*(asyncio.to_thread(babble, folder, text) for text in NONSENSE))
        for text, answer in zip(NONSENSE, answers, strict=True):
            assert b'"type":"fault"' in answer or text.endswith(b'"1"'), text[:40]
        wait_until(lambda: peers(worker.pid, address(folder)) == 1, "the end of all of them")
        await assert_complete(witness, first.seq, until=folder.load_record().seq)
        assert await witness.send(SetLearningRate(factor=0.5))


def babble(folder: RunFolder, text: bytes) -> bytes:
    """What the worker answers to `text` and silence. One that was greeted hangs up itself."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(HELLO_SECONDS + 10)
        client.connect(str(address(folder)))
        with contextlib.suppress(ConnectionError):
            client.sendall(text)
        heard = b""
        with contextlib.suppress(ConnectionError):
            while more := client.recv(65536):
                heard += more
                if text.endswith(b'"1"') and b"MetricsLogged" in heard:
                    break
        return heard


async def test_five_clients_with_conflicting_commands_see_one_order(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    start(folder)
    each = count(40)

    async def steer(name: str) -> list[tuple[int, int, str]]:
        async with connect(folder, by=name) as client:
            await everybody.wait()
            sent = [
                client.send(PauseRun() if number % 4 == 3 else SetLearningRate(value=0.1 * (number + 1)))
                for number in range(each)
            ]
            answers = asyncio.gather(*sent)
            heard: list[tuple[int, int, str]] = []
            async for event in client.events():
                if isinstance(event, ev.CommandApplied):
                    heard.append((event.seq, event.step, event.by))
                if len(heard) == 5 * each:
                    break
            assert {answer.by for answer in await answers} == {name}
            return heard

    everybody = asyncio.Barrier(5)
    async with asyncio.timeout(60):
        orders = await asyncio.gather(*(steer(f"{name}@pts/1") for name in "abcde"))
    assert orders.count(orders[0]) == 5
    assert orders[0] == sorted(orders[0])
    journal = [(line["seq"], line["step"], line["by"]) for line in lines_of(folder.journal_file)]
    assert journal == orders[0]
    assert len({by for _, _, by in journal}) == 5


async def test_a_command_sent_twice_is_applied_once(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    worker = start(folder)
    request = CommandRequest(id="c1", command=SetLearningRate(factor=0.5))
    first = await answer_to(request, folder)
    assert await answer_to(request, folder) == first, "another client"
    worker.kill()
    worker.wait()
    start_again(folder, start)
    assert await answer_to(request, folder) == first, "another worker"
    assert len(lines_of(folder.journal_file)) == 1


async def answer_to(request: CommandRequest, folder: RunFolder) -> ev.CommandApplied:
    async with raw_client(address(folder)) as client:
        await client.receive_snapshot()
        client.send(request)
        applied = (await client.receive_until(ev.CommandApplied))[-1]
        assert isinstance(applied, ev.CommandApplied)
        return applied


async def test_an_old_client_is_told_what_to_attach_with(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    start(folder)
    async with raw_client(address(folder), greet=False) as client:
        client.send(ClientHello(protocol=OLDEST_PROTOCOL - 1))
        assert re.search(r"attach with torchconsole \d", await client.closing_reason())


async def test_a_later_engine_is_followed_read_only_and_the_reason_told(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recorded_client, "POLL_SECONDS", 0.1)
    folder = make_folder(tmp_path)
    start(folder, "--newer")
    later = PROTOCOL_VERSION + 1
    wait_until(lambda: folder.load_record().status == "running", "the first steps")
    async with connect(folder) as client:
        assert f"the run uses protocol {later} and the client {PROTOCOL_VERSION}; attach" in client.read_only
        await next_metrics(client)
    assert await asyncio.to_thread(send, str(folder.path), "pause") == 1
    assert f"PauseRun cannot be sent: the run uses protocol {later}" in capsys.readouterr().err
