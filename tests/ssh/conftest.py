"""A user who logs in over SSH: an OpenSSH server on loopback, and terminals that run ssh."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.program_user import PROGRAM, User, wait_until
from tests.support.pseudo_terminal import Terminal

Login = Callable[..., Terminal]

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
THROTTLE = Path(__file__).parents[1] / "support" / "throttle.py"


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """A user whose workers are killed after the test."""
    with TemporaryDirectory(prefix="tc-", dir="/tmp") as sockets:
        user = User(tmp_path / "home", sockets, tmp_path / "cache")
        yield user
        user.kill_workers()


@pytest.fixture
def sshd(user: User, tmp_path: Path) -> Iterator[int]:
    """Start an OpenSSH server that accepts the key `tmp_path/key`; yields its port."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH's server and client are needed")
    for name in ("host", "key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "sshd_config"
    config.write_text(_config(tmp_path, port, user.env))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd requires this folder
    log = tmp_path / "sshd.log"
    with log.open("wb") as output:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stderr=output)
    try:
        wait_until(lambda: "Server listening" in log.read_text() or server.poll() is not None, "sshd")
        if server.poll() is not None:
            pytest.skip(f"sshd cannot be started: {log.read_text()}")
        yield port
    finally:
        server.terminate()
        server.wait()


def _config(folder: Path, port: int, env: dict[str, str]) -> str:
    settings = " ".join(f'"{name}={value}"' for name, value in env.items() if name != "TERM")
    return f"""
Port {port}
ListenAddress 127.0.0.1
HostKey {folder / "host"}
AuthorizedKeysFile {folder / "key.pub"}
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
PidFile none
SetEnv {settings}
"""


@pytest.fixture
def login(user: User, sshd: int, tmp_path: Path) -> Iterator[Login]:
    """Open terminals that run `ssh -tt 127.0.0.1 torchconsole ARGUMENTS`.

    `rate` limits the connection, in bytes per second.
    """
    opened: list[Terminal] = []

    def open_one(*arguments: str, rate: int | None = None, **options: int) -> Terminal:
        program = f"cd {shlex.quote(str(user.folder))} && exec {shlex.join([PROGRAM, *arguments])}"
        ssh = ["-tt", "-F", "none", "-i", str(tmp_path / "key"), "-p", str(sshd)]
        ssh += ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path / 'known'}"]
        if rate:
            ssh += ["-o", f"ProxyCommand={sys.executable} {THROTTLE} {sshd} {rate}"]
        opened.append(Terminal(user, *ssh, "127.0.0.1", program, program="ssh", **options))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()
