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
from torchconsole.engine.run import sockets
from torchconsole.engine.run.sockets import Listening
from torchconsole.engine.session import server
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


async def test_a_socket_whose_place_somebody_took_moves_and_says_so(
    served: Served, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(state := served.address.parents[1] / "state"))
    place = served.address.parent
    monkeypatch.setattr(sockets, "TMP", place.parent)
    async with raw_client(served.address) as client:
        await client.receive_snapshot()
        shutil.rmtree(place)
        place.symlink_to(tmp_path)
        told = (await client.receive_until(ev.LogWritten))[-1]
        assert (told.level, str(place) in told.message, str(state) in told.message) == ("warning", True, True)
        assert told.message in capfd.readouterr().err
        wait_until(lambda: served.address.is_relative_to(state), "the new address in run.json")
        assert await served.is_serving()


async def test_a_failure_to_make_the_socket_again_is_reported_and_logged(
    served: Served, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> Listening:
        raise RunError("no place for a socket")

    async with raw_client(served.address) as client:
        await client.receive_snapshot()
        with monkeypatch.context() as patch:
            patch.setattr(server, "listen", fail)
            served.address.unlink()
            failure = (await client.receive_until(ev.LogWritten))[-1]
            assert (failure.level, failure.message) == ("error", "no place for a socket")
            assert failure.message in capfd.readouterr().err
        wait_until(served.address.exists, "the socket")


def test_nobody_keeps_a_run_from_starting_by_taking_its_place(
    tmp_path: Path, socket_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(socket_root / "state"))
    folder = socket_root / f"torchconsole-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setattr(sockets, "TMP", socket_root)
    with Served(make_folder(tmp_path)) as served:
        served.event_queue.emit(STARTED)
        wait_until(lambda: served.folder.load_record().status == "running")
        assert served.address.is_relative_to(socket_root / "state")
    assert list(served.address.parent.iterdir()) == []
