"""A deleted socket is made again, and connected clients do not notice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.runs import STARTED, Served, make_folder, raw_client, wait_until
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import PauseRun
from torchconsole.engine.protocol.messages import CommandRequest
from torchconsole.engine.session.server import CHECK_SECONDS


def test_the_socket_is_checked_often_enough() -> None:
    assert CHECK_SECONDS < 5, "a new client may have to wait five seconds at most"


async def test_a_deleted_socket_is_made_again_and_clients_stay_connected(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with raw_client(served.address) as client:
        await client.receive_snapshot()
        served.address.unlink()
        wait_until(served.address.exists, "the socket")
        assert await served.is_serving()
        shutil.rmtree(served.address.parent)
        wait_until(served.address.exists, "the socket and its folder")
        assert await served.is_serving()
        client.send(CommandRequest(id="c1", command=PauseRun()))
        assert (await client.receive_until(ev.CommandAccepted))[-1].id == "c1"


async def test_a_socket_replaced_by_a_file_is_made_again(served: Served) -> None:
    served.address.unlink()
    served.address.write_text("not a socket")
    wait_until(served.address.is_socket, "the socket")
    assert await served.is_serving()


async def test_a_failure_to_make_the_socket_again_is_reported_and_logged(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    async with raw_client(served.address) as client:
        await client.receive_snapshot()
        shutil.rmtree(served.address.parent)
        served.address.parent.mkdir(mode=0o777)
        served.address.parent.chmod(0o777)
        failure = (await client.receive_until(ev.LogWritten))[-1]
        assert (failure.level, "chmod 700" in failure.message) == ("error", True)
        assert failure.message in capfd.readouterr().err
        served.address.parent.chmod(0o700)
        wait_until(served.address.exists, "the socket")


def test_a_socket_folder_open_to_others_is_refused(tmp_path: Path, socket_root: Path) -> None:
    folder = socket_root / f"torchconsole-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    served = Served(make_folder(tmp_path))
    served.lock.acquire()
    with pytest.raises(RunError, match="chmod 700"):
        served.server.start()
    served.lock.release()
