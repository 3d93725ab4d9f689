"""Makes text of unknown origin fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Write control characters, invisible ones among them, as escapes: an ANSI code becomes `\x1b[31m`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )
