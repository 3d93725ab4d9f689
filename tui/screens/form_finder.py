"""What the form does to find a setting: asks which, searches, and returns the changes to apply."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from textual.app import App

from torchconsole.engine.config.preset_files import read_inherited
from torchconsole.engine.config.preset_index import PresetEntry
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.script import Script
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import printable_lines
from torchconsole.tui import launch
from torchconsole.tui.finders import FINDERS
from torchconsole.tui.screens.dialogs import Choice, ChoiceScreen
from torchconsole.tui.screens.finder import FinderScreen
from torchconsole.tui.screens.preset_dialogs import ask_for_trust
from torchconsole.tui.user_keys import key_named

REFUSED = "cannot search"


class ChooseFinderScreen(ChoiceScreen):
    """Asks which setting to find. Returns the name of a finder or None."""

    def __init__(self) -> None:
        super().__init__(
            "Find a setting by trying values",
            "Uses the settings of the form, in a separate process. Starts no run.",
            [Choice((finder.key,), finder.name, finder.label) for finder in FINDERS],
        )


async def find_settings(app: App[Any], preset: PresetEntry, overrides: Sequence[str]) -> list[str]:
    """Search with a preset and its changes. Return the changes (key=value) that apply the answer.

    Empty if the user cancels or declines to trust the preset's code, or if nothing is found.
    """
    try:
        is_script = "script" in await asyncio.to_thread(read_inherited, preset.path)
    except TorchconsoleError as error:
        app.notify(printable_lines(str(error)), title=REFUSED, severity="error", markup=False)
        return []
    if is_script:
        unknown = "cannot search: only your program knows its model and data"
        app.notify(unknown, severity="warning", markup=False)
        return []
    name = await app.push_screen_wait(ChooseFinderScreen())
    finder = next((one for one in FINDERS if one.name == name), None)
    if finder is None or (loaded := await _trusted_preset(app, preset, overrides)) is None:
        return []
    make = partial(launch.search, finder, loaded)
    found = await app.push_screen_wait(FinderScreen(finder, make))
    if found is None:
        return []
    save, start = key_named(app, "form_save"), key_named(app, "form_train")
    app.notify(
        f"applied: {', '.join(found.settings)}; {start} starts a run, {save} saves a preset of your own",
        markup=False,
    )
    return found.settings


async def _trusted_preset(app: App[Any], entry: PresetEntry, overrides: Sequence[str]) -> Preset | None:
    """Load a preset. Return None if it has errors, or if the user does not trust the code it would run."""
    app.notify("loading the preset...", timeout=2)
    try:
        preset, untrusted = await asyncio.to_thread(launch.load, entry, overrides)
    except (TorchconsoleError, OSError) as error:
        app.notify(printable_lines(str(error)), title=REFUSED, severity="error", markup=False)
        return None
    if isinstance(preset, Script):  # the file has changed meanwhile
        return None
    return preset if await ask_for_trust(app, untrusted) else None
