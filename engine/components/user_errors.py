"""Describes what user code raises, with the line of the user's file that it comes from."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path

from torchconsole.engine.text import error_summary, first_line

LIBRARIES = ("site-packages", "dist-packages")

ENGINE = Path(__file__).parents[1]

STANDARD_LIBRARY = Path(os.__file__).parent


def describe_error(error: BaseException) -> str:
    """Return the first line of an error, with the line of the user's code that it comes from, if any."""
    # The text of a KeyError or an empty assertion says nothing without the type.
    is_short = len(first_line(error)) <= len("dictionary key") or isinstance(error, KeyError)
    plain = isinstance(error, RuntimeError | ValueError) or not is_short
    text = first_line(error) if plain else error_summary(error)
    place = place_in_user_code(error)
    return f"{text} ({place})" if place else text


def place_in_user_code(error: BaseException) -> str:
    """Return the last line of the user's code that an error passed, as `net.py, line 14`; empty if none."""
    return place_in_stack(traceback.extract_tb(error.__traceback__))


def place_in_stack(frames: Sequence[traceback.FrameSummary]) -> str:
    """Return the innermost line of the user's code, as `net.py, line 14`; empty if none. Innermost last."""
    for frame in reversed(frames):
        file = Path(frame.filename)
        is_library = any(part in LIBRARIES for part in file.parts)
        is_foreign = is_library or any(map(file.is_relative_to, (ENGINE, STANDARD_LIBRARY)))
        if not is_foreign and file.is_file():
            return f"{file.name}, line {frame.lineno}"
    return ""
