"""Where a run's socket lives, and who may be at either end of it.

Below /tmp, because $XDG_RUNTIME_DIR goes at the last logout while the run goes on, and under a short name,
because a Unix socket's path ends at 107 bytes.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
from pathlib import Path

from torchconsole.engine.errors import RunError

ROOT = Path("/tmp")

_UCRED = struct.Struct("3i")  # Linux's struct ucred: pid, uid, gid


def socket_address(folder: Path) -> Path:
    """The socket's path for a run's folder."""
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return ROOT / f"torchconsole-{os.getuid()}" / f"{digest}.sock"


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
        raise RunError(f"{address}: the run's socket cannot be made: {error.strerror}") from error
    return listener


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket, as the kernel knows it."""
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


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
