"""Two machines: network namespaces with a bridge between them, or two trees of processes on the loopback."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.program_user import PROGRAM, User

NAMES = ("machine-a", "machine-b")

ENTER = 'mount --bind "$1" /etc/hosts && hostname "$2" && shift 2 && exec "$@"'


class Machines:
    """Starts the program on each of two machines, with the user's folder on both."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._started: dict[subprocess.Popen[bytes], Path] = {}
        self._spaces = [f"tc{os.getpid()}{letter}" for letter in "abs"]
        self._hosts = user.home / "hosts"
        self.are_real = self._connect()
        """Whether they have networks of their own: that takes root and iproute2."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.endpoint = f"{NAMES[0] if self.are_real else '127.0.0.1'}:{port}"
        self.names = NAMES if self.are_real else (socket.gethostname(),) * 2

    def start(self, *arguments: str) -> list[subprocess.Popen[bytes]]:
        """Start `torchconsole ARGUMENTS` on both, for a training that they do together."""
        words = [*arguments, "--nnodes", "2", "--rdzv-endpoint", self.endpoint]
        return [self._start(machine, words) for machine in range(2)]

    def cut(self, *, drop: bool) -> None:
        """Cut the second machine off: its packets are dropped on the way, or its network goes down.

        Without networks of their own, its processes are suspended, which looks the same from the first one.
        """
        _, second, switch = self._spaces
        if not self.are_real:
            for process in psutil.Process(list(self._started)[1].pid).children(recursive=True):
                process.suspend()
        elif drop:
            ip("-n", switch, "link", "set", "port1", "nomaster")
        else:
            ip("-n", second, "link", "set", "eth0", "down")

    def printed(self, process: subprocess.Popen[bytes]) -> str:
        """Return what a machine has printed so far."""
        return self._started[process].read_text(errors="replace")

    def close(self) -> None:
        """Kill all that was started, and remove the networks."""
        for process in self._started:
            with suppress(psutil.NoSuchProcess):
                own = psutil.Process(process.pid)
                for each in [own, *own.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
            process.wait()
            print(self.printed(process)[-10_000:])
        if self.are_real:
            for space in self._spaces:
                ip("netns", "del", space)

    def _start(self, machine: int, words: list[str]) -> subprocess.Popen[bytes]:
        enter: list[str] = []
        if self.are_real:
            enter = ["ip", "netns", "exec", self._spaces[machine], "unshare", "--mount", "--uts"]
            enter += ["sh", "-c", ENTER, "sh", str(self._hosts), NAMES[machine]]
        printed = self._user.home / f"machine-{machine}.log"
        with printed.open("wb") as file:
            process = subprocess.Popen(
                [*enter, PROGRAM, *words],
                cwd=self._user.folder,
                env=self._user.env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started[process] = printed
        return process

    def _connect(self) -> bool:
        """Make the networks; return whether that is permitted here."""
        try:
            for space in self._spaces:
                ip("netns", "add", space)
        except (OSError, subprocess.CalledProcessError):
            return False
        *machines, switch = self._spaces
        ip("-n", switch, "link", "add", "bridge", "up", "type", "bridge")
        for number, space in enumerate(machines):
            peer = ("type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", switch, "link", "add", f"port{number}", *peer)
            ip("-n", switch, "link", "set", f"port{number}", "master", "bridge", "up")
            ip("-n", space, "addr", "add", f"10.77.0.{number + 1}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", space, "link", "set", device, "up")
        self._hosts.write_text(f"127.0.0.1 localhost\n10.77.0.1 {NAMES[0]}\n10.77.0.2 {NAMES[1]}\n")
        return True


def ip(*words: str) -> None:
    """Run iproute2's command. Raises CalledProcessError, and OSError if it is not installed."""
    subprocess.run(["ip", *words], check=True, capture_output=True)
