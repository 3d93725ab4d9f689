"""The socket of a run is in a folder that nobody else can access."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from torchconsole.engine.errors import RunError
from torchconsole.engine.run import sockets
from torchconsole.engine.run.sockets import listen, listen_at, peer_uid, remove_stale_sockets, socket_address


def test_the_address_is_short_however_long_the_folder_is(tmp_path: Path) -> None:
    address = socket_address(tmp_path / ("x" * 200) / ("y" * 200))
    assert len(bytes(address)) < 80
    assert address != socket_address(tmp_path / "z")


def test_only_the_owner_can_access_the_socket(tmp_path: Path) -> None:
    address = socket_address(tmp_path)
    with listen_at(address):
        assert stat.S_IMODE(address.stat().st_mode) == 0o600
        assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700
        assert list(address.parent.iterdir()) == [address], "nothing temporary is left"


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    address = socket_address(tmp_path)
    listen_at(address).close()
    with listen_at(address) as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(address))
        accepted, _ = listener.accept()
        with accepted:
            assert peer_uid(accepted) == os.getuid()


def test_stale_sockets_are_removed(tmp_path: Path) -> None:
    dead, alive = socket_address(tmp_path / "dead"), socket_address(tmp_path / "alive")
    listen_at(dead).close()
    others = dead.with_name("of-another-program.sock")
    listen_at(others).close()
    with listen_at(alive):
        remove_stale_sockets(dead.parent)
        assert set(dead.parent.iterdir()) == {alive, others}


@pytest.mark.parametrize("length", [*range(60, 90), 107, 108, 200])
def test_a_folder_with_too_long_a_path_is_not_used(
    length: int, socket_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid_digits = len(str(os.getuid()))  # also part of the socket's path
    root = socket_root / ("x" * (length - uid_digits - len(bytes(socket_root))))
    root.mkdir()
    monkeypatch.setenv("TORCHCONSOLE_SOCKETS", str(root))
    address = socket_address(root)
    if length < 65:
        assert address.is_relative_to(root)
    elif length > 75:
        assert address.is_relative_to(f"/tmp/torchconsole-{os.getuid()}")
    if address.is_relative_to(root):
        listen_at(address).close()


def test_a_variable_selects_another_folder_than_tmp(
    tmp_path: Path, socket_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHCONSOLE_SOCKETS", str(socket_root / "other"))
    assert socket_address(tmp_path).parent == socket_root / "other" / f"torchconsole-{os.getuid()}"


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701])
def test_a_folder_that_others_can_access_is_refused(tmp_path: Path, mode: int) -> None:
    address = socket_address(tmp_path)
    address.parent.mkdir()
    address.parent.chmod(mode)
    with pytest.raises(RunError, match="chmod 700"):
        listen_at(address)


def test_a_link_instead_of_the_folder_is_refused(tmp_path: Path) -> None:
    address = socket_address(tmp_path)
    tmp_path.chmod(0o700)
    address.parent.symlink_to(tmp_path)
    with pytest.raises(RunError, match="remove it"):
        listen_at(address)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder another user's")
def test_another_users_folder_is_refused(tmp_path: Path) -> None:
    address = socket_address(tmp_path)
    address.parent.mkdir(mode=0o700)
    os.chown(address.parent, 12345, 12345)
    with pytest.raises(RunError, match="uid 12345"):
        listen_at(address)


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    address = socket_address(tmp_path)
    with pytest.raises(RunError, match="cannot create"):
        listen_at(Path("/proc") / address.parent.name / address.name)


def squat_with_a_file(place: Path) -> None:
    place.touch()


def squat_with_a_link(place: Path) -> None:
    place.symlink_to("/tmp")


def squat_with_a_dangling_link(place: Path) -> None:
    place.symlink_to("nowhere")


def squat_with_a_fifo(place: Path) -> None:
    os.mkfifo(place)


def squat_with_an_open_folder(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


def squat_with_a_folder_of_another_user(place: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make a folder another user's")
    place.mkdir(mode=0o700)
    os.chown(place, 12345, 12345)


SQUATS = (
    squat_with_a_file, squat_with_a_link, squat_with_a_dangling_link, squat_with_a_fifo,
    squat_with_an_open_folder, squat_with_a_folder_of_another_user,
)  # fmt: skip


@pytest.fixture
def tmp(socket_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for /tmp; no variable names another folder."""
    monkeypatch.delenv("TORCHCONSOLE_SOCKETS")
    monkeypatch.setenv("XDG_STATE_HOME", str(socket_root / "state"))
    (socket_root / "tmp").mkdir()
    monkeypatch.setattr(sockets, "TMP", socket_root / "tmp")
    return socket_root / "tmp"


@pytest.mark.parametrize("squat", SQUATS)
def test_a_place_that_somebody_took_is_replaced_by_the_state_folder(
    tmp: Path, squat: Callable[[Path], None], tmp_path: Path
) -> None:
    squat(place := tmp / f"torchconsole-{os.getuid()}")
    found = listen(tmp_path)
    with found.socket, socket.socket(socket.AF_UNIX) as client:
        assert found.address.parent == tmp.parent / "state" / "torchconsole" / "sockets"
        assert stat.S_IMODE(found.address.parent.stat().st_mode) == 0o700
        assert found.problem.startswith(f"{place}: ")
        client.connect(str(found.address))
    sockets.remove_socket(found.address)
    assert list(found.address.parent.iterdir()) == []


@pytest.mark.parametrize("state", ["taken", "with a long path"])
def test_without_a_state_folder_the_place_has_a_random_name(
    state: str, tmp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp / f"torchconsole-{os.getuid()}").touch()
    if state == "taken":
        (tmp.parent / "state").touch()
    else:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("x" * 100)))
    one, other = listen(tmp_path), listen(tmp_path)
    for found in (one, other):
        assert found.address.parent.name.startswith(f"torchconsole-{os.getuid()}-")
        found.socket.close()
        sockets.remove_socket(found.address)
    assert one.address.parent != other.address.parent
    assert len(list(tmp.iterdir())) == 1, "nothing is left"


def test_without_any_place_each_problem_is_named(
    tmp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := tmp / "file").touch()
    monkeypatch.setattr(sockets, "TMP", file)
    monkeypatch.setenv("XDG_STATE_HOME", str(file))
    with pytest.raises(RunError) as error:
        listen(tmp_path)
    assert str(error.value).count(f"{file}") >= 3
