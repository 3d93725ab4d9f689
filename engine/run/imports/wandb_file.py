"""Reads a run from a .wandb file of an offline run: protocol buffers in a log of LevelDB's format."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import open_regular
from torchconsole.engine.run.imports.recording import (
    NOT_A_NUMBER,
    REPLACED,
    Recording,
    number,
    our_names,
)

FORMAT = "wandb"

MAGIC = b":W&B"
HEADER = 7
"""Bytes before the first record, and of the header of each: checksum, length, kind."""

BLOCK = 32768
"""Records do not cross blocks: a longer one is split."""

FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_wandb(path: Path) -> Recording:
    """Read the run. What is torn at the end is left out. Raises RunError, also without wandb, and OSError."""
    try:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from wandb.proto.wandb_internal_pb2 import Record
    except ImportError as error:
        raise RunError(f"{path}: requires wandb: pip install 'torchconsole[wandb]'") from error
    with open_regular(path) as file:
        data = file.read()
    if not data.startswith(MAGIC):
        raise RunError(f"{path}: is not a file of wandb")
    recording = Recording(path.stem, str(path), FORMAT)
    rows = []
    for content in _records(data):
        with suppress(DecodeError):
            record = Record.FromString(content)
            kind = record.WhichOneof("record_type")
            if kind == "history":
                rows.append(dict(_items(record.history.item)))
            elif kind == "run":
                recording.name = record.run.display_name or record.run.run_id or recording.name
                recording.settings |= dict(_items(record.run.config.update))
            elif kind == "config":
                recording.settings |= dict(_items(record.config.update))
    recording.settings = {key: value for key, value in recording.settings.items() if key[:1] != "_"}
    _add(recording, rows)
    return recording


def _add(recording: Recording, rows: list[dict[str, Any]]) -> None:
    """Add the rows of the history, each with its step and time."""
    given = dict.fromkeys(name for row in rows for name in row if name[:1] != "_")
    numbers = {name for row in rows for name in row if number(row[name]) is not None}
    names = our_names([name for name in given if name in numbers])
    recording.rename(names)
    for name in given:
        if name not in numbers:
            recording.notes.add("metric", "left out, without numbers", name)
    for index, row in enumerate(rows, 1):
        step, time = row.get("_step"), number(row.get("_timestamp"))
        if not isinstance(step, int) or step < 0:
            recording.notes.add("row", "left out, without a step of 0 or more", f"row {index:,}")
            continue
        for name, ours in names.items():
            value, place = number(row.get(name)), f"{name!r} at step {step:,}"
            if value is None and row.get(name) is not None:
                recording.notes.add("value", NOT_A_NUMBER, place)
            elif value is not None and recording.add(step, ours, value, time):
                recording.notes.add("value", REPLACED, place)


def _items(items: Any) -> Iterator[tuple[str, Any]]:
    """Yield names and values. What is nested is joined by a dot or, in the history, as it was logged."""
    for item in items:
        name = ".".join(item.nested_key) or item.key
        with suppress(ValueError, RecursionError):
            yield name, json.loads(item.value_json)


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the records of the log."""
    position, parts = HEADER, b""
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        content = data[position + HEADER : position + HEADER + length]
        if not FULL <= kind <= LAST or len(content) < length:
            return
        position += HEADER + length
        parts = (parts if kind in (MIDDLE, LAST) else b"") + content
        if kind in (FULL, LAST):
            yield parts
