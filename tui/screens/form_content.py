"""What a form edits: the settings of a preset, or the arguments of a program of the user's own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from torchconsole.engine.client.catalogue_cache import load_catalogue
from torchconsole.engine.client.processes import concern_about
from torchconsole.engine.config.draft import Draft, draft_errors
from torchconsole.engine.config.preset_files import read_inherited
from torchconsole.engine.config.preset_keys import KeyInfo, described_keys
from torchconsole.engine.errors import RunError
from torchconsole.tui.form_data import data_problems
from torchconsole.tui.screens.form_check import WITH_ERRORS
from torchconsole.tui.screens.form_lr import FormLr
from torchconsole.tui.widgets.frames import FramedLines
from torchconsole.tui.widgets.lr_curve_pane import LrCurvePane
from torchconsole.tui.widgets.setting_rows import SettingRows

if TYPE_CHECKING:
    from torchconsole.engine.config.program_arguments import ProgramArguments
    from torchconsole.engine.protocol.reports import CheckReport


class Look(NamedTuple):
    """What is wrong with the draft, as lines `key: what`, and what may be; and what its keys mean."""

    errors: list[str]
    warnings: dict[str, str]
    infos: dict[str, KeyInfo]


class FormContent(Protocol):
    """What the form asks of what it edits.

    begins_with_check: whether a check tells what there is to edit.
    checking, failed: what is said while a check runs, and if it ends with an error.
    """

    begins_with_check: bool
    checking: str
    failed: str

    @property
    def is_refused(self) -> bool:
        """Whether nothing can be started. The start of a preset itself says all that is wrong with it."""

    @property
    def draft(self) -> Draft:
        """The changes."""

    @property
    def rows(self) -> SettingRows:
        """The fields."""

    @property
    def side(self) -> FramedLines:
        """What is beside or below the fields."""

    async def load(self) -> str:
        """Read what takes long; return what is to be said if it could not be read."""

    async def look(self) -> Look:
        """Look at the present draft."""

    async def preview(self, errors: list[str], warnings: Mapping[str, str]) -> None:
        """Show in `side` what follows from the draft."""

    def use(self, result: CheckReport | ProgramArguments | str | None) -> bool:
        """Take over the result of a check; return whether there are new rows."""


def form_content(path: Path) -> FormContent:
    """Return what a form edits for a preset's file. Raises PresetError."""
    if "script" in read_inherited(path):
        from torchconsole.tui.screens.form_program import ProgramContent

        return ProgramContent(path)
    return PresetContent(path)


class PresetContent:
    """The settings of a preset, with the lr that they give."""

    begins_with_check = False
    checking = "checking by a dry run..."
    failed = WITH_ERRORS
    is_refused = False

    def __init__(self, path: Path) -> None:
        self.draft = Draft(path)
        self.rows = SettingRows(self.draft, described_keys(self.draft.base, None))
        self.side = LrCurvePane(id="lr")
        self._lr = FormLr(self.draft, self.side)

    async def load(self) -> str:
        """Read the catalogue. If there is none yet, a process with torch writes it, which takes seconds."""
        try:
            self.draft.catalogue = await asyncio.to_thread(load_catalogue)
        except RunError as error:
            return f"names and arguments are not checked: {error}"
        return ""

    async def look(self) -> Look:
        """Check the preset and the data that it names."""
        draft, content = self.draft, self.draft.content
        errors, of_data, of_processes, infos = await asyncio.gather(
            asyncio.to_thread(partial(draft_errors, draft.base, draft.applied, draft.catalogue)),
            asyncio.to_thread(data_problems, content),
            asyncio.to_thread(process_problems, content),
            asyncio.to_thread(described_keys, content, draft.catalogue),
        )
        return Look(errors, of_data | of_processes, infos)

    async def preview(self, errors: list[str], warnings: Mapping[str, str]) -> None:
        """Show the lr of the present settings, computed by a process once the user stops typing."""
        await self._lr.update(errors, warnings)

    def use(self, result: CheckReport | ProgramArguments | str | None) -> bool:
        """Compute the lr again if that failed."""
        del result
        self._lr.forget()
        return False


def process_problems(content: Mapping[str, Any]) -> dict[str, str]:
    """Return what speaks against the number of processes on this machine, by key. Never raises."""
    section, training = content.get("distributed"), content.get("training")
    wanted = section.get("processes", 1) if isinstance(section, dict) else 1
    device = training.get("device", "auto") if isinstance(training, dict) else "auto"
    is_valid = wanted == "auto" or (type(wanted) is int and wanted > 0)
    if not is_valid or not isinstance(device, str):
        return {}
    concern = concern_about(wanted, device)
    return {"distributed.processes": concern} if concern else {}
