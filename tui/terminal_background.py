"""What the terminal says of itself: its background, the width of a sign, and if it repeats characters.

The terminal is asked (OSC 11) before Textual reads from it. Terminals answer in the order of the questions,
and all of them answer the second one (DA1), so those that do not know their background cost no waiting.
"""

from __future__ import annotations

import json
import os
import re
import select
import termios
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from torchconsole.engine.files import read_regular, write_atomically
from torchconsole.engine.user_folders import make_private, state_folder

LONGEST_SECONDS = 0.1
"""How long to wait for the answer. A later one is swallowed, and remembered for the next time."""

MOST_TERMINALS = 100

_BACKGROUND_QUESTION = b"\x1b]11;?\x1b\\"
_ATTRIBUTES_QUESTION = b"\x1b[c"
_SIGN_QUESTION = "\r★\x1b[6n\r\x1b[K".encode()
"""Draws a sign, asks where the cursor is now, and erases the sign."""

_REPEAT_QUESTION = "\r⠒\x1b[6b\x1b[6n\r\x1b[K".encode()
"""Draws a character, has it repeated six times (REP), asks where the cursor is now, and erases everything."""

_REPEATED_COLUMN = 8
"""The cursor is here if the character was repeated. No sign is so wide."""

_HEX = "([0-9a-fA-F]{1,4})"
_BACKGROUND = re.compile(rf"\x1b\]11;(?:rgba?:{_HEX}/{_HEX}/{_HEX})?[^\x07\x1b]*(?:\x07|\x1b\\)")
_ATTRIBUTES = re.compile(r"\x1b\[\?[\d;]*c")
_CURSOR = re.compile(r"\x1b\[\d+;(\d+)R")
_STATUS = re.compile(r"\x1b\[[03]n")
_LATE_CURSOR = re.compile(r"\x1b\[(?:[2-9]|[1-9]\d+);(\d+)R")
"""In the first row it would look like F3 with a modifier."""

_UNFINISHED = re.compile(r"\x1b(?:\]1(?:1(?:;[^\x07\x1b]*\x1b?)?)?|\[\?[\d;]*|\[\d[\d;]*)$")
_NEVER_ASKED = ("linux", "dumb", "unknown", "")
"""The Linux console prints a part of the question."""

_SILENT = "silent"
_LIGHT_COLORS = ("7", "15")


@dataclass(frozen=True)
class Answer:
    """What the terminal has answered.

    `is_dark` is None if it does not say; `sign_cells` is how many cells a sign took, None if unknown; `typed`
    is what the user typed meanwhile; `is_silent` says that it answered nothing at all; `repeats` says that it
    knows REP, which repeats a character; `has_answered` says that it has answered something.
    """

    is_dark: bool | None = None
    sign_cells: int | None = None
    typed: str = ""
    is_silent: bool = False
    repeats: bool = False
    has_answered: bool = field(default=False, compare=False)


def find_background(
    stdin: int,
    stdout: int,
    environ: Mapping[str, str] = os.environ,
    *,
    asks_sign: bool = False,
    asks_repeat: bool = True,
) -> Answer:
    """Return whether the background is dark: as the terminal answers, as it did before, or as COLORFGBG says.

    Never fails, and takes at most LONGEST_SECONDS. Without any clue it is None. That of Linux' own console is
    dark.
    """
    answer, known = Answer(), _read(_file()).get(_terminal(environ))
    if environ.get("TERM", "") not in _NEVER_ASKED:
        with suppress(OSError, termios.error, ValueError):
            seconds = 0 if known == _SILENT else LONGEST_SECONDS
            answer = ask_terminal(stdin, stdout, seconds, asks_sign=asks_sign, asks_repeat=asks_repeat)
    if answer.is_dark is not None:
        remember(answer.is_dark, environ)
        return answer
    if answer.is_silent and known is None:
        _remember(_SILENT, environ)  # a late answer replaces it
    if known in ("dark", "light"):
        return replace(answer, is_dark=known == "dark")
    number = environ.get("COLORFGBG", "").rpartition(";")[2]
    if not number and environ.get("TERM", "") != "linux":
        return answer
    return replace(answer, is_dark=number not in _LIGHT_COLORS)


def ask_terminal(
    stdin: int,
    stdout: int,
    seconds: float = LONGEST_SECONDS,
    *,
    asks_sign: bool = False,
    asks_repeat: bool = True,
) -> Answer:
    """Ask the terminal for its background. Raises OSError, termios.error.

    Without any seconds it is asked, but not waited for: its answer is remembered for the next time.
    """
    if not (os.isatty(stdin) and os.isatty(stdout)) or os.tcgetpgrp(stdin) != os.getpgrp():
        return Answer()
    if not seconds:
        os.write(stdout, _BACKGROUND_QUESTION)
        return Answer()
    before, quiet = termios.tcgetattr(stdin), termios.tcgetattr(stdin)
    quiet[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(stdin, termios.TCSANOW, quiet)  # nothing that was typed is dropped
    try:
        sign = _SIGN_QUESTION if asks_sign else b""
        repeat = _REPEAT_QUESTION if asks_repeat else b""
        os.write(stdout, sign + repeat + _BACKGROUND_QUESTION + _ATTRIBUTES_QUESTION)
        received = _read_answers(stdin, time.monotonic() + seconds)
    finally:
        termios.tcsetattr(stdin, termios.TCSANOW, before)
    replies = Replies(cursor=_CURSOR)
    typed = replies.strip(received) + replies.finish()
    cells = replies.columns[0] - 1 if asks_sign and replies.columns else None
    is_silent = typed == received
    return Answer(replies.is_dark, cells, typed, is_silent, replies.repeats, has_answered=not is_silent)


def _read_answers(stdin: int, deadline: float) -> str:
    received = b""
    while (left := deadline - time.monotonic()) > 0 and select.select([stdin], [], [], left)[0]:
        piece = os.read(stdin, 4096)
        received += piece
        if not piece or _ATTRIBUTES.search(received.decode("latin-1")):
            break
    return received.decode("utf-8", errors="replace")


class Replies:
    """Removes the terminal's answers from what it sends, where they would arrive as keys."""

    def __init__(
        self, on_answer: Callable[[bool], object] | None = None, cursor: re.Pattern[str] = _LATE_CURSOR
    ) -> None:
        self.is_dark: bool | None = None
        self.columns: list[int] = []
        """Where the cursor was, for each time that this was asked."""
        self.statuses = 0
        """How many times the terminal has said that it works."""
        self.has_any = False
        self._on_answer = on_answer
        self._cursor = cursor
        self._begun = ""

    def strip(self, text: str) -> str:
        """Return the text without answers. An answer whose end is still to come is held back."""
        if "\x1b" not in text and not self._begun:
            return text
        text = self._begun + text
        if match := _BACKGROUND.search(text):
            self._take(match)
        self.columns += map(int, self._cursor.findall(text))
        self.statuses += len(_STATUS.findall(text))
        received = text
        for answer in (_BACKGROUND, _ATTRIBUTES, _STATUS, self._cursor):
            text = answer.sub("", text)
        self.has_any = self.has_any or text != received
        unfinished = _UNFINISHED.search(text)
        self._begun = unfinished.group() if unfinished else ""
        return text[: len(text) - len(self._begun)]

    @property
    def repeats(self) -> bool:
        """Whether the terminal has repeated a character."""
        return _REPEATED_COLUMN in self.columns

    def forget(self) -> None:
        """Forget the answers so far."""
        self.columns, self.statuses, self.has_any = [], 0, False

    def finish(self) -> str:
        """Return what was held back."""
        text, self._begun = self._begun, ""
        return text

    def _take(self, match: re.Match[str]) -> None:
        parts = [int(part, 16) / (16 ** len(part) - 1) for part in match.groups() if part]
        if len(parts) == 3:
            self.is_dark = 0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2] < 0.5
            if self._on_answer:
                self._on_answer(self.is_dark)


def remember(is_dark: bool, environ: Mapping[str, str] = os.environ) -> None:
    """Remember this terminal's background. A state folder that cannot be written is no reason to complain."""
    _remember("dark" if is_dark else "light", environ)


def _remember(state: str, environ: Mapping[str, str]) -> None:
    path = _file()
    terminals = _read(path)
    if terminals.pop(_terminal(environ), None) == state:
        return
    latest = dict([*terminals.items(), (_terminal(environ), state)][-MOST_TERMINALS:])
    with suppress(OSError):
        make_private(path.parent)
        write_atomically(path, json.dumps(latest, indent=1).encode())


def _file() -> Path:
    return state_folder() / "terminals.json"


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(read_regular(path, 1 << 16))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}


def _terminal(environ: Mapping[str, str]) -> str:
    """Return what tells terminals apart: their type, their program, and over SSH the machine they are on."""
    remote = environ.get("SSH_CONNECTION", "").partition(" ")[0]
    names = ("TERM", "TERM_PROGRAM", "LC_TERMINAL", "COLORTERM")
    return " ".join(part for part in (*(environ.get(name, "") for name in names), remote) if part)
