"""What the form says about its keys and their state."""

from __future__ import annotations

from collections.abc import Sized

from textual.content import Content

from torchconsole.engine.config.preset_keys import KeyInfo
from torchconsole.engine.text import printable


def describe_key(key: str, info: KeyInfo, problem: str) -> Content:
    """Say what a key is, what it can be, and what is wrong with its value."""
    default = "required" if info.default == "required" else info.default and f"default {info.default}"
    texts = [text for text in (info.description, info.type, default) if text]
    what = Content.assemble((key, "bold $tone-strong"), ("  " + " · ".join(map(printable, texts)), ""))
    wrong = Content.styled(f"\n{printable(problem)}", "$tone-bad") if problem else Content("")
    return Content.assemble(what, wrong)


def short_meaning(info: KeyInfo) -> str:
    """Say what a key is, for the list of all keys."""
    return f"{info.description} ({info.type})" if info.type else info.description


def describe_state(errors: Sized, warnings: Sized, otherwise: str) -> str:
    """Return `2 errors`, else `1 warning`, else the text for neither."""
    if errors:
        return count(errors, "error")
    return count(warnings, "warning") if warnings else otherwise


def count(things: Sized, name: str) -> str:
    """Return `1 setting` or `2 settings`."""
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
