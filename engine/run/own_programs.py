"""What a run's folder has of a program that calls `torchconsole.run`: such a run can be resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torchconsole.engine.files import read_regular, write_atomically
from torchconsole.engine.run.decoding import decode, parse_json
from torchconsole.engine.run.folder import RunFolder


@dataclass(frozen=True)
class OwnProgram:
    """The names in `run.keep`, and the program's main file with its content when the run last began."""

    kept: list[str]
    file: str = ""
    sha256: str = ""


def note_program(folder: RunFolder, kept: Sequence[str], file: str) -> None:
    """Note that the program of a run keeps its state. Raises OSError."""
    noted = OwnProgram(list(kept), file, _fingerprint(file))
    write_atomically(folder.program_file, json.dumps(asdict(noted), indent=1).encode())


def own_program(folder: RunFolder) -> OwnProgram | None:
    """Return what is noted; None if the program does not call `run.keep`, or the note cannot be read."""
    try:
        return decode(OwnProgram, parse_json(read_regular(folder.program_file)))
    except (OSError, ValueError):
        return None


def changed_file(folder: RunFolder) -> str:
    """Return the program's main file if it has changed since the run last began; else an empty string."""
    noted = own_program(folder)
    return noted.file if noted and noted.sha256 and noted.sha256 != _fingerprint(noted.file) else ""


def _fingerprint(file: str) -> str:
    """Return the sha256 of a file; empty if it cannot be read."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""
