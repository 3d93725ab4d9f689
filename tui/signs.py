# ruff: noqa: RUF001 - signs that look like letters
"""ASCII stand-ins for the signs that the console draws, for terminals that lack them.

Drawing code uses the Unicode signs. `tui/line_filters.py` replaces them where all lines of all widgets pass,
so that nothing else has to know. Each stand-in takes as many cells as the sign.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

_SIGNS = (
    ("●★◉", "*"), ("○◐◯", "o"), ("•", "o"), ("·", "."), ("‖", "="), ("✓", "v"), ("✗×✘", "x"), ("■", "#"),
    ("◆", "+"), ("▼▾↓", "v"), ("↺", "@"), ("▲↑", "^"), ("→▸▶►", ">"), ("←◂◀", "<"), ("…", "~"),
    ("⇧", "^"), ("↕", "|"), ("↔", "-"), ("–—−", "-"), ("±", "~"), ("≥", ">"), ("≤", "<"), ("≈", "~"),
    ("°", "o"), ("µμ", "u"), ("²", "2"), ("³", "3"), ("‘’", "'"), ("“”", '"'), ("\N{NO-BREAK SPACE}", " "),
    ("━", "="), ("─╌╍┄┅┈┉╴╶╸╺╼╾▔", "-"), ("│┃╎╏╵╷╹╻╽╿▏▕", "|"), ("┊┋┆┇", ":"),
    ("▁", "."), ("▂", "_"), ("▃", "-"), ("▄", "="), ("▅", "+"), ("▆", "*"), ("▇", "%"),
)  # fmt: skip

_ASCII = {sign: stand_in for signs, stand_in in _SIGNS for sign in signs}

_UPPER_DOTS, _LOWER_DOTS = 0x09, 0xC0
_COLUMNS = (0x47, 0xB8)
_BLANK, _LAST_BRAILLE = 0x2800, 0x28FF
_STEEP = 3
"""Dots in one column of a braille cell from which a line in it is steep."""


@lru_cache(4096)
def stand_in(char: str) -> str:
    """Return the ASCII character for a sign of the console; empty for any other character."""
    code = ord(char)
    if _BLANK <= code <= _LAST_BRAILLE:
        return _dots(code - _BLANK)
    if char in _ASCII:
        return _ASCII[char]
    if "\u2500" <= char <= "\u257f":
        return "+"
    return "#" if "\u2580" <= char <= "\u259f" else ""


def _dots(bits: int) -> str:
    """Return the character for the dots of a braille cell: `'` for the upper ones, `.` for the lower ones."""
    if not bits:
        return " "
    if any((bits & column).bit_count() >= _STEEP for column in _COLUMNS):
        return "|"
    is_upper, is_lower = bool(bits & _UPPER_DOTS), bool(bits & _LOWER_DOTS)
    return "-" if is_upper == is_lower else "'" if is_upper else "."


def drawn_in_ascii(char: str) -> str:
    """Return ASCII characters for as many cells as `char` takes."""
    from rich.cells import cell_len

    return stand_in(char) or "?" * cell_len(char)


def ascii_encoding(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the terminal's encoding if it needs ASCII signs; None if it shows all signs.

    That is so in a locale without UTF-8, and on the Linux console, whose fonts lack most signs. A locale that
    is not set at all is no reason: containers have none, and their terminals are UTF-8.
    """
    given = _user_environment() if environ is None else environ
    locale = _locale(given)
    codeset = locale.partition("@")[0].partition(".")[2] or _default_codeset(locale)
    is_utf8 = codeset.replace("-", "").lower() == "utf8"
    if is_utf8:
        return "utf-8" if given.get("TERM", "").split("-")[0] == "linux" else None
    return codeset


def must_be_asked(environ: Mapping[str, str] | None = None) -> bool:
    """Whether only the terminal knows if it draws signs, and one cell wide.

    That is so without a locale, and in those of East Asia, where most signs may be two cells wide.
    """
    given = _user_environment() if environ is None else environ
    return _locale(given).partition("_")[0] in ("", "zh", "ja", "ko")


def _locale(environ: Mapping[str, str]) -> str:
    return environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""


def _default_codeset(locale: str) -> str:
    """Return the codeset of a locale that names none."""
    if not locale:
        return "utf-8"
    return "ascii" if locale in ("C", "POSIX") else "latin-1"


def _user_environment() -> Mapping[str, str]:
    """Return the environment as the shell has set it: in the C locale, Python changes LC_CTYPE (PEP 538)."""
    try:
        content = Path("/proc/self/environ").read_bytes().decode(errors="surrogateescape")
    except OSError:
        return os.environ
    entries = (entry.partition("=") for entry in content.split("\0") if entry)
    return {name: value for name, _, value in entries} | {"TERM": os.environ.get("TERM", "")}
