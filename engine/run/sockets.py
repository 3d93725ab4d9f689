"""The socket of a run: its address, and checks of who is at either end of it.

It is below /tmp because $XDG_RUNTIME_DIR is removed at the last logout while the run continues, and has a
short name because the path of a Unix socket may have 107 bytes at most. $TORCHCONSOLE_SOCKETS names another
folder than /tmp; it is ignored if the path would be too long. Where somebody else was there first, the socket
is in the user's state folder, or in a folder of /tmp with a random name. All that matters for new workers
only, because a run's record holds the address of its socket.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import socket
import stat
import struct
import tempfile
import termios
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import real_path
from torchconsole.engine.user_folders import state_folder

MAX_PATH_BYTES = 107 - len(".4194304") + len(".sock")
"""Length of a socket's path: until the socket is ready, its name ends with the worker's pid."""

TMP = Path("/tmp")
"""Not $TMPDIR: it may differ between the login that starts the run and the one that attaches."""

_OURS = re.compile(r"[0-9a-f]{16}\.sock")
_BOUND = re.compile(r".*/[0-9a-f]{16}\.\d+")
"""The name to which a worker's listener and the connections to it were bound: see `listen`."""

_INT = struct.Struct("i")
_UCRED = struct.Struct("3i")  # Linux's struct ucred: pid, uid, gid


def socket_address(folder: Path) -> Path:
    """Return the path at which the socket for a run's folder should be."""
    return next(_addresses(folder))


@dataclass(frozen=True)
class Listening:
    """A socket that listens, and why it is not at the address where it should be; empty if it is."""

    socket: socket.socket
    address: Path
    problem: str = ""


def listen(folder: Path) -> Listening:
    """Return a socket that listens for the run in `folder`; it replaces any socket that was there.

    It gets its name only once it is ready, and only its owner can connect. Call this while holding the run's
    lock: what is replaced is stale then. Raises RunError if no place can be used.
    """
    problems: list[str] = []
    for address in _addresses(folder):
        try:
            return Listening(listen_at(address), address, "; ".join(problems))
        except RunError as error:
            problems.append(str(error))
    try:
        place = Path(tempfile.mkdtemp(prefix=f"{_own_name()}-", dir=TMP))
        address = place / socket_address(folder).name
        return Listening(listen_at(address), address, "; ".join(problems))
    except (OSError, RunError) as error:
        raise RunError(*problems, f"{TMP}: cannot create a folder for sockets: {error}") from error


def listen_at(address: Path) -> socket.socket:
    """Return a socket that listens at `address`: see `listen`. Raises RunError."""
    _secure_folder(address.parent)
    unready = address.with_suffix(f".{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        unready.unlink(missing_ok=True)
        listener.bind(str(unready))
        unready.chmod(0o600)
        listener.listen()
        unready.rename(address)
    except OSError as error:
        listener.close()
        with suppress(OSError):
            unready.unlink()
        raise RunError(f"{address}: cannot create the run's socket: {error.strerror or error}") from error
    return listener


def remove_socket(address: Path) -> None:
    """Remove a run's socket, and its folder if that has a random name."""
    with suppress(OSError):
        address.unlink()
        if address.parent.name.startswith(f"{_own_name()}-"):
            address.parent.rmdir()


def remove_stale_sockets(folder: Path) -> None:
    """Remove the sockets that killed workers have left in a folder. Raises OSError."""
    for address in folder.iterdir():
        if _OURS.fullmatch(address.name) and _is_stale(address):
            address.unlink(missing_ok=True)


def close_inherited_sockets() -> None:
    """In a forked child, close the parent's listener and connections, which must end with the parent.

    Their descriptors stay in use, because the child's copies of Python's socket objects still refer to them.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for entry in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(entry.name)
        with suppress(OSError):  # the descriptor of the listing itself is closed by now
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode) and _is_parents(descriptor):
                os.dup2(null, descriptor)
    os.close(null)


def _is_parents(descriptor: int) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as candidate:
        return candidate.family == socket.AF_UNIX and bool(_BOUND.fullmatch(str(candidate.getsockname())))


def peer_uid(connection: socket.socket) -> int:
    """Return the user id at the other end of a Unix socket, as the kernel knows it."""
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def unread_bytes(connection: socket.socket) -> int:
    """Return the memory, in bytes, that the kernel uses for what the other end has not read yet."""
    (count,) = _INT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))
    return int(count)


def _is_stale(address: Path) -> bool:
    """Whether nobody listens there. A listener whose queue is full just now is not stale."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        return client.connect_ex(str(address)) == errno.ECONNREFUSED


def _addresses(folder: Path) -> Iterator[Path]:
    """Yield the addresses to try, in this order, as far as their paths are short enough."""
    name = f"{hashlib.sha256(os.fsencode(real_path(folder))).hexdigest()[:16]}.sock"
    root = os.environ.get("TORCHCONSOLE_SOCKETS")
    wanted = [Path(root).absolute() / _own_name()] if root else []
    for place in (*wanted, TMP / _own_name(), state_folder() / "sockets"):
        address = place / name
        if len(os.fsencode(address)) <= MAX_PATH_BYTES:
            yield address


def _own_name() -> str:
    return f"torchconsole-{os.getuid()}"


def _secure_folder(folder: Path) -> None:
    """Make the folder for sockets, or check that nobody else has access to the existing one."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except OSError as error:
        if not os.path.lexists(folder):
            raise RunError(f"{folder}: cannot create the folder for sockets: {error.strerror}") from error
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise RunError(f"{folder}: must be a folder, not a file or a link; remove it")
    if found.st_uid != os.getuid():
        raise RunError(f"{folder}: belongs to another user (uid {found.st_uid}); have it removed")
    if found.st_mode & 0o077:
        raise RunError(f"{folder}: other users have access to it; run `chmod 700 {folder}`")
