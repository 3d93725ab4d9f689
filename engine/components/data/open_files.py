"""Finds files that a dataset keeps open: processes that share one move its position for each other.

They would read wrong bytes without an error. HDF5 says so in its documentation of h5py and multiprocessing,
LMDB in the caveats of its own.
"""

from __future__ import annotations

import io
import itertools
import logging
import mmap
import socket
import sqlite3
import sys
import tarfile
import types
import zipfile
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

OPEN = (zipfile.ZipFile, tarfile.TarFile, sqlite3.Connection, mmap.mmap, socket.socket)
IN_MEMORY = (io.BytesIO, io.StringIO)
LIBRARIES = ("h5py", "lmdb", "netCDF4", "tables", "duckdb")
"""Packages whose objects may stand for an open file."""

LIBRARY_TYPES = ("File", "Group", "Dataset", "Environment", "Transaction", "DuckDBPyConnection")

SKIPPED = (
    *(str, bytes, int, float, Tensor, np.ndarray, type, types.ModuleType, types.FunctionType),
    *(logging.Logger, logging.LoggerAdapter, logging.Handler),
)
"""What holds no file that samples are read from; a log is only written to."""

MOST_ITEMS = 20
"""Items of a collection to look at; open files in a long list are like those at its beginning."""

MOST_DEPTH = 8


def open_file_in(value: Any) -> str | None:
    """Return where `value` keeps a file open, as `attribute.attribute`; None if it keeps none.

    Looks at attributes, at the items of collections and at theirs. Do this after a sample was read: many
    datasets open their file for the first one.
    """
    seen: set[int] = set()
    waiting: deque[tuple[str, Any, int]] = deque([("", value, 0)])
    while waiting:
        name, found, depth = waiting.popleft()  # the shortest path first
        if id(found) in seen or isinstance(found, SKIPPED):
            continue
        seen.add(id(found))
        if _is_open_file(found):
            return name
        if depth < MOST_DEPTH:
            waiting += [(f"{name}.{key}".strip("."), inner, depth + 1) for key, inner in _inner(found)]
    return None


def _is_open_file(value: Any) -> bool:
    if isinstance(value, io.IOBase):
        return not isinstance(value, IN_MEMORY) and not value.closed and _has_position(value)
    if isinstance(value, OPEN):
        return not getattr(value, "closed", False)
    kind = type(value)
    return kind.__module__.partition(".")[0] in LIBRARIES and kind.__name__ in LIBRARY_TYPES


def _has_position(file: io.IOBase) -> bool:
    """Whether samples can be read from different positions of a file: not of a log or a standard stream."""
    if file in (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__):
        return False
    try:
        return file.readable() and file.seekable()
    except (OSError, ValueError):
        return True


def _inner(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        items = itertools.islice(value.items(), MOST_ITEMS)
        yield from ((str(key), inner) for key, inner in items)
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((str(number), inner) for number, inner in enumerate(itertools.islice(value, MOST_ITEMS)))
    elif isinstance(attributes := getattr(value, "__dict__", None), dict):
        yield from attributes.items()
