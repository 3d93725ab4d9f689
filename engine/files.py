"""Opens files that anybody may have put there, and writes files so that they survive crashes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from torchconsole.engine.text import mebibytes

MAX_BYTES = 16 << 20
"""Size (bytes) up to which a file is read as a whole. run.json of a model of 10,000 layers has a tenth."""

READ_BYTES = 1 << 20

AWAY = frozenset(
    {
        errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH,
        errno.ENODEV, errno.ENXIO, errno.EREMOTEIO, errno.ESHUTDOWN, errno.ECONNABORTED, errno.ECONNREFUSED,
    }
)  # fmt: skip
"""Error numbers that say that a disk or a network mount is away, and nothing about the file."""


def is_away(error: BaseException | None) -> bool:
    """Whether an error says that the file's disk or network mount is away."""
    return isinstance(error, OSError) and error.errno in AWAY


def open_regular(path: Path) -> BufferedReader:
    """Open a file that anybody may have put there for reading. Raises OSError, also if it is not a file.

    Opening a FIFO would wait for a writer, and a leased file for its owner; opening a device may act on it.
    So the type is checked before the file is opened, and again afterwards, since it may have been replaced.
    """
    try:
        _require_regular(path.stat())
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:  # a name that no file can have
        raise OSError(errno.EINVAL, "not a valid file name") from error
    try:
        _require_regular(os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int = MAX_BYTES) -> bytes:
    """Read a whole file of at most `most` bytes that anybody may have put there. Raises OSError."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = b"" if size > most else _read_up_to(file, most + 1)
    if max(size, len(data)) > most:  # it may have grown since
        raise OSError(errno.EFBIG, f"larger than {mebibytes(most)}")
    return data


def _read_up_to(file: BufferedReader, most: int) -> bytes:
    """Read to the end or `most` bytes. One `read(most)` would allocate as much, however small the file is."""
    data = bytearray()
    while len(data) < most and (piece := file.read(min(READ_BYTES, most - len(data)))):
        data += piece
    return bytes(data)


def open_own(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a file of our own for writing, and return its descriptor. Raises OSError.

    In a folder that others can write to, a link or a FIFO may be in its place, or a link of another user in
    the place of its folder: none is followed.
    """
    with held_folder(path.parent) as folder:
        return _open_in_place(folder / path.name, flags, mode)


@contextmanager
def held_folder(folder: Path) -> Iterator[Path]:
    """Open a folder, and yield a path that leads into it even if somebody exchanges it meanwhile.

    Users may move a folder to another disk and leave a link, which is followed. Where others can make one
    too, it may lead to any folder of the user: it is followed only if it belongs to the user or to root.
    Raises OSError, also if another user has made the link.
    """
    descriptor = _open_folder(folder)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _open_folder(folder: Path) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return os.open(folder, flags | os.O_NOFOLLOW)
    except NotADirectoryError:
        link = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(link)
        if not stat.S_ISLNK(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        if found.st_uid not in (0, os.geteuid()):
            raise OSError(errno.ELOOP, f"it is a link that another user (uid {found.st_uid}) has made")
        target = os.readlink("", dir_fd=link)
    finally:
        os.close(link)
    return os.open(folder.parent / target, flags)


def _open_in_place(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a regular file, not through a link. Raises OSError."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    try:
        _require_regular(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def exists(path: Path) -> bool:
    """Whether a path exists and can be looked at. Unlike Path.exists, never raises OSError."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def real_path(path: Path) -> Path:
    """Resolve the links in a path. Unlike Path.resolve, leaves a path with a loop of links as it is."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def write_atomically(path: Path, data: bytes, mode: int | None = None) -> None:
    """Replace `path` with `data`. After a crash it has either its old or its new content. Raises OSError.

    The file gets `mode`, or what the user's umask allows.
    """
    # Somebody who can write to the folder may put a link in the temporary file's place: it is not followed.
    with (
        held_folder(path.parent) as folder,
        replacing(folder / path.name, mode) as temporary,
        os.fdopen(_open_in_place(temporary, os.O_WRONLY), "wb") as file,
    ):
        file.write(data)


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary file to write to; on exit it replaces `path` atomically and durably.

    The file gets `mode`, or what the user's umask allows, whatever mode its writer gave it: safetensors
    creates private files. After an exception in the block, `path` is unchanged and the temporary file is
    removed. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        allowed = _create(temporary, 0o666 if mode is None else 0o600)
        yield temporary
        _complete(temporary, allowed if mode is None else mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def working_folder_exists() -> bool:
    """Whether this process's working folder has not been removed."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, so that they survive a power failure. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(path: Path, mode: int) -> int:
    """Create an empty file, and return the mode that the umask and the folder's default ACL give to it.

    In a folder that others can write to, a link may be waiting under its name: it is removed, never followed.
    """
    path.unlink(missing_ok=True)
    descriptor = _open_in_place(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _complete(path: Path, mode: int) -> None:
    """Give a file its mode, and make it durable. A link or a FIFO that has replaced it is not followed."""
    descriptor = _open_in_place(path, os.O_RDONLY)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_regular(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
