"""Socket files that are stale, deleted or unsafe, and other users of the machine."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.channel.conftest import Start, address, next_metrics, start_again
from tests.support.runs import lines_of, make_folder, wait_until
from torchconsole.engine.client import connect
from torchconsole.engine.protocol.commands import SetLearningRate
from torchconsole.engine.run.folder import RunFolder

NOBODY = 65534


def run_worker(folder: RunFolder) -> subprocess.CompletedProcess[str]:
    """Run the real worker, which here must end before it needs torch."""
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


async def test_a_second_worker_is_refused_and_the_first_is_unaffected(tmp_path: Path, start: Start) -> None:
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


async def test_a_deleted_socket_is_recreated_and_clients_stay_connected(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    start(folder)
    async with connect(folder) as client:
        address(folder).unlink()
        await asyncio.to_thread(wait_until, lambda: address(folder).is_socket(), "the socket")
        async with connect(folder) as late:
            await next_metrics(late)
        assert await client.send(SetLearningRate(factor=0.5))


async def test_a_socket_path_that_would_be_too_long_is_replaced_by_a_short_one(
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


VISIT = """
import asyncio, os, sys
from pathlib import Path
from torchconsole.engine.client import connect
from torchconsole.engine.run.registry import list_runs
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.protocol.commands import PauseRun
import torchconsole.engine.client.client, torchconsole.engine.run.registry, pydantic.json_schema

async def visit(folder):
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
    await visit(folder)
    print(*(run.name for run in list_runs(folder.path.parent)))

asyncio.run(main())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_another_user_can_read_the_files_but_not_steer(sockets: Path, start: Start) -> None:
    folder = make_folder(sockets / "runs")
    start(folder)
    wait_until(lambda: folder.load_record().status == "running", "the first steps")

    def visit() -> list[str]:
        command = [sys.executable, "-c", VISIT, str(folder.path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert await asyncio.to_thread(visit) == [
        "running True",
        "PauseRun cannot be sent: the run belongs to another user",
        folder.name,
    ]
    for path in (address(folder).parent, address(folder)):
        path.chmod(0o777)
    after_chmod = await asyncio.to_thread(visit)
    assert "another user" in after_chmod[1]
    assert not folder.journal_file.exists() or not lines_of(folder.journal_file)


@pytest.mark.parametrize("reason", ["written", "owned", "linked"])
async def test_an_unsafe_socket_folder_is_not_used(
    tmp_path: Path, sockets: Path, start: Start, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 59. /tmp/torchconsole-UID is usable here, and comes next."""
    if reason == "owned" and os.getuid() != 0:
        pytest.skip("only root can make a folder another user's")
    unsafe = sockets / f"torchconsole-{os.getuid()}"
    if reason == "linked":
        unsafe.symlink_to(tmp_path)
    else:
        unsafe.mkdir()
        unsafe.chmod(0o770 if reason == "written" else 0o700)
    if reason == "owned":
        os.chown(unsafe, NOBODY, NOBODY)
    folder = make_folder(tmp_path)
    start(folder)
    assert not address(folder).is_relative_to(sockets)
    assert str(unsafe) in folder.log_file.read_text()
    async with connect(folder) as client:
        assert await client.send(SetLearningRate(factor=0.5))
