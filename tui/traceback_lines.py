"""Finds the traceback in what a worker printed: its lines, its exception, and the last frame in user code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from torchconsole.engine.config.import_path import OWN_FOLDER

BEGINNING = "Traceback (most recent call last):"
_FRAME = re.compile(r'\s*File "(?P<file>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?')
_LIBRARIES = re.compile(r"/(?:site|dist)-packages/|/lib(?:64)?/python3|^<")
_LINKS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)


@dataclass(frozen=True)
class Frame:
    """A line of code in a traceback."""

    file: str
    line: int
    function: str
    code: str


@dataclass(frozen=True)
class FoundTraceback:
    """A traceback. `frame` is the last one in the user's own files, `start` the index of its first line."""

    start: int
    lines: tuple[str, ...]
    exception: str
    frame: Frame | None


def find_traceback(lines: Sequence[str]) -> FoundTraceback | None:
    """Return the last traceback, with those that caused it; None if there is none."""
    starts = [index for index, line in enumerate(lines) if line.strip() == BEGINNING]
    if not starts:
        return None
    last = starts[-1]
    end = _end(lines, last)
    first = last
    for start in reversed(starts[:-1]):
        between = [line.strip() for line in lines[_end(lines, start) : first] if line.strip()]
        if len(between) != 1 or between[0] not in _LINKS:
            break
        first = start
    frames = list(_frames(lines[last:end]))
    own = [frame for frame in frames if _is_own(frame.file)]
    if not own and first < last:
        own = [frame for frame in _frames(lines[first:last]) if _is_own(frame.file)]
    exception = next((line for line in lines[last + 1 : end] if not line[:1].isspace()), "")
    return FoundTraceback(first, tuple(lines[first:end]), exception.strip(), own[-1] if own else None)


def _end(lines: Sequence[str], start: int) -> int:
    """Return the index after the traceback that begins at `start`, whose last lines are the exception."""
    index = start + 1
    while index < len(lines) and (not lines[index].strip() or lines[index][0].isspace()):
        index += 1
    index += 1
    while index < len(lines) and lines[index].strip() and lines[index].strip() != BEGINNING:
        index += 1
    return min(index, len(lines))


def _frames(lines: Sequence[str]) -> list[Frame]:
    found = []
    for index, line in enumerate(lines):
        if match := _FRAME.fullmatch(line.rstrip()):
            code = lines[index + 1].strip() if index + 1 < len(lines) else ""
            if (
                _FRAME.fullmatch(code)
                or not lines[index + 1 : index + 2]
                or not lines[index + 1][:1].isspace()
            ):
                code = ""
            found.append(Frame(match["file"], int(match["line"]), match["function"] or "", code))
    return found


def _is_own(file: str) -> bool:
    return not _LIBRARIES.search(file) and not any(file.startswith(folder) for folder in _engine_folders())


@cache
def _engine_folders() -> tuple[str, ...]:
    """Return the folder of the engine, as it is imported and where it really is."""
    folder = OWN_FOLDER / "engine"
    return (f"{folder}/", f"{folder.resolve()}/")
