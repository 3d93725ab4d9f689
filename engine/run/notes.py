"""The tags and the note that people give to a run: notes.json in its folder, where everybody sees them."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import read_regular, write_atomically
from torchconsole.engine.run.decoding import decode, parse_json
from torchconsole.engine.run.folder import RunFolder

MOST_BYTES = 1 << 20
"""Largest notes.json that is read."""

MOST_TAGS, MOST_TAG, MOST_NOTE = 20, 40, 2000
"""Number of tags; characters of a tag and of the note."""

_SEPARATOR = re.compile(r"[\s,]+")
_TAG = re.compile(r"[\w.+/=-]+")


@dataclass(frozen=True)
class Notes:
    """What people noted about a run."""

    tags: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class _Content:
    """The content of notes.json."""

    tags: list[str]
    note: str = ""


def read_notes(folder: RunFolder) -> Notes:
    """Read the notes of a run; there are none if the file cannot be read, and none of another form."""
    try:
        content = decode(_Content, parse_json(read_regular(folder.notes_file, MOST_BYTES)))
    except (OSError, ValueError):
        return Notes()
    tags = (tag for tag in content.tags if _TAG.fullmatch(tag) and len(tag) <= MOST_TAG)
    return Notes(tuple(dict.fromkeys(tags))[:MOST_TAGS], content.note[:MOST_NOTE])


def write_notes(folder: RunFolder, notes: Notes) -> None:
    """Replace the notes of a run; without any the file is removed. Raises RunError."""
    if len(notes.note) > MOST_NOTE:
        raise RunError(f"the note has {len(notes.note):,} characters; write at most {MOST_NOTE:,}")
    try:
        if notes == Notes():
            folder.notes_file.unlink(missing_ok=True)
        else:
            content = {"tags": list(notes.tags), "note": notes.note}
            write_atomically(folder.notes_file, json.dumps(content, indent=1).encode() + b"\n")
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise RunError(f"{folder.notes_file}: cannot be written: {why}") from error


def parse_tags(text: str) -> tuple[str, ...]:
    """Split typed text into tags, separated by blanks or commas. Raises RunError for what cannot be one."""
    tags = tuple(dict.fromkeys(filter(None, _SEPARATOR.split(text))))
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise RunError(f"tag {tag!r}: use letters, digits and . _ + / = - only")
        if len(tag) > MOST_TAG:
            raise RunError(f"tag {tag!r} has {len(tag)} characters; use at most {MOST_TAG}")
    if len(tags) > MOST_TAGS:
        raise RunError(f"{len(tags)} tags; use at most {MOST_TAGS}")
    return tags
