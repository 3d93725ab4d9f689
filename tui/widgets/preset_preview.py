"""What the menu says of the highlighted preset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from torchconsole.engine.config.preset_index import PresetEntry
from torchconsole.engine.text import printable

if TYPE_CHECKING:
    from torchconsole.engine.config.data_location import DataPlace

MARKS = {"here": ("●", "$text-success"), "download": ("○", "$text-warning"), "missing": ("○", "$text-error")}
"""Whether a preset's data is on this machine, at a glance; nothing where that cannot be told."""


class PresetPreview(VerticalScroll, can_focus=False):
    """Its description, what it needs, where its data and its file are."""

    def compose(self) -> ComposeResult:
        """One text; it scrolls where the terminal is short."""
        yield Static(markup=False)

    def show(self, preset: PresetEntry, place: DataPlace | None) -> None:
        """Describe this preset; without a place its data was not looked for yet."""
        self.border_title = Content(f" {printable(preset.title)} ")
        told = [("needs", Content(printable(preset.needs))), ("data ", _data(place))]
        facts = [Content.assemble((f"{name} ", "dim"), text) for name, text in told if text]
        facts += [Content()] if facts else []
        file = Content.styled(printable(short_path(preset.path)), "dim")
        about = [Content(printable(preset.description)), Content()] if preset.description else []
        self.query_one(Static).update(Content("\n").join([*facts, *about, file]))

    def clear(self) -> None:
        """Describe nothing."""
        self.border_title = None
        self.query_one(Static).update("")


def short_path(path: Path) -> str:
    """The path as a person in this folder would write it."""
    for base, mark in ((Path.cwd(), Path()), (Path.home(), Path("~"))):
        if path.is_relative_to(base):
            return str(mark / path.relative_to(base))
    return str(path)


def _data(place: DataPlace | None) -> Content:
    if place is None or place.state == "unknown":
        return Content()
    where = printable(short_path(place.path)) if place.path else ""
    said = {
        "here": f"in {where}" if where else "nothing to fetch",
        "download": f"not here yet: downloaded to {where}",
        "missing": f"not here: {where or 'data.root is to name it'}",
    }
    return Content.assemble(MARKS[place.state], f" {said[place.state]}")
