"""The form under test: its folder, its text and its keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import pytest
from textual.pilot import Pilot

from tests.support.pilot import shows, until
from tests.support.screen_text import text_of
from torchconsole.engine.client import catalogue_cache
from torchconsole.engine.config import draft, preset_files
from torchconsole.engine.config.catalogue import Catalogue, Kind, Signature
from torchconsole.engine.protocol.reports import LearningRateCurve
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui import launch
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.screens import form_content, form_lr
from torchconsole.tui.widgets.form_fields import SettingRow
from torchconsole.tui.widgets.setting_rows import SettingRows

PRESET = """\
title = "Small digits"  # of the UCI
[data]
name = "digits"
batch_size = 64  # more is slower
[model]
name = "MLP"
hidden = [16]
[optimizer]
name = "SGD"
lr = 0.1
momentum = 0.9  # the usual
[[schedule]]
name = "StepLR"
step_size = 50
"""
OFFERS: dict[Kind, dict[str, Signature]] = {
    "data": {"digits": Signature(arguments={}), "CSV": Signature(arguments={"target": True})},
    "model": {"MLP": Signature(arguments={"hidden": True, "dropout": False})},
    "optimizer": {
        "AdamW": Signature(arguments={"lr": False}),
        "SGD": Signature(arguments={"lr": False, "momentum": False, "nesterov": False}),
    },
    "schedule": {"StepLR": Signature(arguments={"step_size": True, "gamma": False})},
}


def form_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a working folder with one preset, an empty config folder, and a small catalogue."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "small.toml").write_text(PRESET)
    folders = [tmp_path / "presets", preset_files.user_folder(), tmp_path / "shipped"]
    for module in (preset_files, draft):
        monkeypatch.setattr(module, "preset_folders", lambda: folders)
    offered = Catalogue(versions={}, kinds={**{kind: {} for kind in get_args(Kind)}, **OFFERS})
    monkeypatch.setattr(catalogue_cache, "load_catalogue", lambda: offered)
    monkeypatch.setattr(form_content, "load_catalogue", lambda: offered)
    monkeypatch.setattr(launch, "lr_curve", curve)
    monkeypatch.setattr(form_lr, "DELAY_SECONDS", 0.0)
    return tmp_path


async def curve(preset: object, overrides: object) -> LearningRateCurve:
    """A curve in place of one that a process with torch computes."""
    steps = list(range(1, 231))
    lrs = [0.1 * 0.5 ** (step // 50) for step in steps]
    return LearningRateCurve(steps_per_epoch=23, total_steps=230, steps=steps, lrs=[lrs])


class FormConsole:
    """The console with the form open on the preset `small`."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[RunFolder]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def text(self) -> str:
        return text_of(self.app.screen)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def go_to(self, key: str) -> None:
        """Go to the row of a key, which is added if there is none."""
        await self.press("f3", *key, "enter")
        await until(self.app, self.pilot, lambda: self.focused_key == key)

    @property
    def focused_key(self) -> str:
        parent = self.app.focused.parent if self.app.focused else None
        return parent.key if isinstance(parent, SettingRow) else ""

    async def type(self, text: str) -> None:
        """Replace the value of the field by `text`."""
        await self.press("end", "ctrl+u", *text)

    async def shows(self, *words: str) -> None:
        await shows(self.app, self.pilot, *words)

    async def lacks(self, *words: str) -> None:
        await until(self.app, self.pilot, lambda: not any(word in self.text for word in words))


@asynccontextmanager
async def editing(folder: Path, size: tuple[int, int] = (80, 24)) -> AsyncIterator[FormConsole]:
    """Open the form, and wait until it has read the catalogue."""
    app = ConsoleApp(runs_dir=folder / "runs")
    async with app.run_test(size=size, notifications=True) as pilot:
        console = FormConsole(app, pilot)
        await console.shows("Small digits")
        await console.press("e")
        await console.shows("small", "SGD")
        await console.lacks("reading the names")
        rows = app.screen.query_one(SettingRows)
        is_read = "names and arguments are not checked" not in console.text
        await until(
            app, pilot, lambda: not is_read or {"optimizer.nesterov", "data.header"} & rows.infos.keys()
        )
        yield console


SIZES = [(40, 12), (80, 24), (120, 40), (200, 60)]
