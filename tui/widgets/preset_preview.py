"""The menu's preview of the highlighted preset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from torchconsole.engine.config.preset_index import PresetEntry
from torchconsole.engine.text import printable
from torchconsole.engine.user_folders import home_folder

if TYPE_CHECKING:
    from torchconsole.engine.config.data_location import DataLocation

DATA_SYMBOLS = {
    "here": ("●", "$text-success"),
    "download": ("○", "$text-warning"),
    "missing": ("○", "$text-error"),
}
"""State of a preset's data on this machine -> its symbol and color; there is none for an unknown state."""


class PresetPreview(VerticalScroll, can_focus=False):
    """The preset's description, what it needs, and where its data and its file are."""

    def compose(self) -> ComposeResult:
        """One text, which scrolls if the terminal is short."""
        yield Static(markup=False)

    def show(self, preset: PresetEntry, place: DataLocation | None) -> None:
        """Show this preset; `place` is None until its data has been looked for."""
        self.border_title = Content(f" {printable(preset.title)} ")
        facts = [("needs", Content(printable(preset.needs))), ("data ", _data(place))]
        lines = [Content.assemble((f"{name} ", "dim"), text) for name, text in facts if text]
        if lines:
            lines.append(Content())
        if preset.description:
            lines += [Content(printable(preset.description)), Content()]
        lines.append(Content.styled(printable(short_path(preset.path)), "dim"))
        self.query_one(Static).update(Content("\n").join(lines))

    def clear(self) -> None:
        """Show nothing."""
        self.border_title = None
        self.query_one(Static).update("")


def short_path(path: Path) -> str:
    """Return a path relative to the working folder or, as `~/...`, to the home folder, if it is in one."""
    for base, prefix in ((Path.cwd(), Path()), (home_folder(), Path("~"))):
        if path.is_relative_to(base):
            return str(prefix / path.relative_to(base))
    return str(path)


def _data(place: DataLocation | None) -> Content:
    if place is None or place.state == "unknown":
        return Content()
    where = printable(short_path(place.path)) if place.path else ""
    text = {
        "here": f"in {where}" if where else "no files needed",
        "download": f"not here yet; will be downloaded to {where}",
        "missing": f"not found: {where or 'set data.root to its folder'}",
    }
    return Content.assemble(DATA_SYMBOLS[place.state], f" {text[place.state]}")
