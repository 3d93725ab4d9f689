"""Where a run's socket lives, and who may be at either end of it.

Below /tmp, because $XDG_RUNTIME_DIR goes at the last logout while the run goes on, and under a short name,
because a Unix socket's path ends at 107 bytes. $TORCHCONSOLE_SOCKETS names another place than /tmp, which is
not used where the path would be too long; it counts for new workers only, since a run's record says where its
socket is.
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
import termios
from contextlib import suppress
from pathlib import Path

from torchconsole.engine.errors import RunError

MOST_BYTES = 107 - len(".4194304") + len(".sock")
"""Of a socket's path: until it is ready its name ends with the worker's pid."""

_OURS = re.compile(r"[0-9a-f]{16}\.sock")
_BOUND = re.compile(r".*/torchconsole-\d+/[0-9a-f]{16}\.\d+")
"""What a worker's listener and the connections to it were bound to: see `listen`."""

_INT = struct.Struct("i")
_UCRED = struct.Struct("3i")  # Linux's struct ucred: pid, uid, gid


def socket_address(folder: Path) -> Path:
    """The socket's path for a run's folder."""
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    short = Path("/tmp", f"torchconsole-{os.getuid()}", f"{digest}.sock")
    if root := os.environ.get("TORCHCONSOLE_SOCKETS"):
        wanted = Path(root).absolute() / short.relative_to("/tmp")
        return wanted if len(os.fsencode(wanted)) <= MOST_BYTES else short
    return short


def listen(address: Path) -> socket.socket:
    """A listening socket at `address`, in the place of whatever socket was there.

    It gets its name only when it is ready, and only its owner can reach it. Call it while holding the run's
    lock: then what is replaced is stale. Raises RunError.
    """
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
        raise RunError(f"{address}: the run's socket cannot be made: {error.strerror or error}") from error
    return listener


def clear_away(folder: Path) -> None:
    """Remove the sockets that killed workers have left in their folder. Raises OSError."""
    for address in folder.iterdir():
        if _OURS.fullmatch(address.name) and _is_dead(address):
            address.unlink(missing_ok=True)


def leave_to_parent() -> None:
    """In a forked child: let go of the parent's listener and connections, which must end with the parent.

    Their descriptors stay taken: the child's copies of Python's sockets know nothing of this.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for entry in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(entry.name)
        with suppress(OSError):  # the listing's own descriptor is gone by now
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode) and _is_parents(descriptor):
                os.dup2(nothing, descriptor)
    os.close(nothing)


def _is_parents(descriptor: int) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as candidate:
        return candidate.family == socket.AF_UNIX and bool(_BOUND.fullmatch(str(candidate.getsockname())))


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket, as the kernel knows it."""
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def on_its_way(connection: socket.socket) -> int:
    """Bytes of memory in which the kernel holds what the other end has not read yet."""
    (held,) = _INT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))
    return int(held)


def _is_dead(address: Path) -> bool:
    """Whether nobody listens there. A listener that takes nobody in just now is not dead."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        return client.connect_ex(str(address)) == errno.ECONNREFUSED


def _secure_folder(folder: Path) -> None:
    """Make the socket folder, or make sure that nobody else has a hand in the one that is there."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise RunError(f"{folder}: the folder for sockets cannot be made: {error.strerror}") from error
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise RunError(f"{folder}: is not a folder (a link is refused too); remove it")
    if found.st_uid != os.getuid():
        raise RunError(f"{folder}: belongs to another user (uid {found.st_uid}); have it removed")
    if found.st_mode & 0o077:
        raise RunError(f"{folder}: other users can reach into it; run `chmod 700 {folder}`")
