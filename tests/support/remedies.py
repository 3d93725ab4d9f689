"""Follows the remedies in messages about data literally."""

from __future__ import annotations

import re
import tomllib
from typing import Any

SETTING = re.compile(r'data\.(\w+) = ("(?:[^"\\]|\\.)*"|\[[^\]]*\]|\d+|true|false)')
REMOVAL = re.compile(r"remove ('[^;]*?') from (data\.\w+(?: and data\.\w+)*)")


def remedies(message: str) -> dict[str, Any]:
    """Return the keys that a message says to set, with the first value of each."""
    found: dict[str, Any] = {}
    for key, value in SETTING.findall(message):
        found.setdefault(key, tomllib.loads(f"value = {value}")["value"])
    return found


def follow(message: str, keys: dict[str, Any], *only: str) -> dict[str, Any]:
    """Return `keys` changed as a message says: the settings `only`, all of them by default, and removals."""
    wanted = {key: value for key, value in remedies(message).items() if not only or key in only}
    assert set(only) <= {*wanted, "remove"}, message
    changed = {**keys, **wanted}
    if not wanted or "remove" in only:
        removal = REMOVAL.search(message)
        assert removal, message
        names = re.findall(r"'([^']*)'", removal[1])
        for key in re.findall(r"data\.(\w+)", removal[2]):
            changed[key] = [name for name in changed[key] if name not in names]
    return changed
