"""The socket of a run is in a folder that nobody else can access."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.sockets import listen, peer_uid, remove_stale_sockets, socket_address


def test_the_address_is_short_however_long_the_folder_is(tmp_path: Path) -> None:
    address = socket_address(tmp_path / ("x" * 200) / ("y" * 200))
    assert len(bytes(address)) < 80
    assert address != socket_address(tmp_path / "z")


def test_only_the_owner_can_access_the_socket(tmp_path: Path) -> None:
    address = socket_address(tmp_path)
    with listen(address):
        assert stat.S_IMODE(address.stat().st_mode) == 0o600
        assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700
        assert list(address.parent.iterdir()) == [address], "nothing temporary is left"


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    address = socket_address(tmp_path)
    listen(address).close()
    with listen(address) as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(address))
        accepted, _ = listener.accept()
        with accepted:
            assert peer_uid(accepted) == os.getuid()


def test_stale_sockets_are_removed(tmp_path: Path) -> None:
    dead, alive = socket_address(tmp_path / "dead"), socket_address(tmp_path / "alive")
    listen(dead).close()
    others = dead.with_name("of-another-program.sock")
    listen(others).close()
    with listen(alive):
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
        listen(address).close()


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
        listen(address)


def test_a_link_instead_of_the_folder_is_refused(tmp_path: Path) -> None:
    address = socket_address(tmp_path)
    tmp_path.chmod(0o700)
    address.parent.symlink_to(tmp_path)
    with pytest.raises(RunError, match="remove it"):
        listen(address)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder another user's")
def test_another_users_folder_is_refused(tmp_path: Path) -> None:
    address = socket_address(tmp_path)
    address.parent.mkdir(mode=0o700)
    os.chown(address.parent, 12345, 12345)
    with pytest.raises(RunError, match="uid 12345"):
        listen(address)


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    address = socket_address(tmp_path)
    with pytest.raises(RunError, match="cannot create"):
        listen(Path("/proc") / address.parent.name / address.name)
