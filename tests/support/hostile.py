"""What another user, or a damaged disk, may put in the place of a file that torchconsole reads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STRANGER = 12345
"""A user id that owns nothing."""

DEPTH = 100_000


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def _folder(path: Path) -> None:
    (path / "below").mkdir(parents=True)


def _content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "empty": _content(b""),
    "not JSON": _content(b"{"),
    "a list": _content(b"[1]"),
    "binary": _content(bytes(range(256)) * 4),
    "zeros": _content(bytes(9000)),
    "nested": _content(b"[" * DEPTH + b"]" * DEPTH),
    "nested objects": _content(b'{"a":' * DEPTH + b"1" + b"}" * DEPTH),
    "nested tables": _content(b"a." * DEPTH + b"b = 1\n"),
    "a huge integer": _content(b'{"seq": ' + b"9" * 5000 + b"}\n"),
    "FIFO": os.mkfifo,
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "/dev/tty": lambda path: path.symlink_to("/dev/tty"),
    "a folder": _folder,
    "a link to a folder": lambda path: path.symlink_to("/"),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a loop": lambda path: path.symlink_to(path.name),
    "sparse": _sparse,
    "one long line": _content(b"x" * (17 << 20)),
}
"""Name -> puts it at a path where nothing is."""

WRONG_VALUES = (
    None, True, -1, 2**63, 10**400, 1.5, 1e999, -1e999, float("nan"), "x", "\ud800", "\x1b[31m\n", "",
    [], [[]], {}, {"": None}, ["x"], {"value": "x"},
)  # fmt: skip
"""Values of every type, and numbers that no date, index or float can hold."""


def replace_by(name: str, path: Path) -> None:
    """Put something hostile in the place of a file, whether there is one or not."""
    path.unlink(missing_ok=True)
    HOSTILE[name](path)


def wrong_variants(content: dict[str, object]) -> Iterator[tuple[str, bytes]]:
    """Yield the JSON of `content` with each key missing, and with each of the wrong values for each key."""
    for key in content:
        yield f"no {key}", json.dumps({name: content[name] for name in content if name != key}).encode()
        for value in WRONG_VALUES:
            yield f"{key}={str(value)[:20]!r}", json.dumps({**content, key: value}).encode()


@contextmanager
def as_stranger() -> Iterator[None]:
    """Without root's rights, so that permissions count. Does nothing for other users, who have none."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(STRANGER)
    try:
        yield
    finally:
        os.seteuid(0)
