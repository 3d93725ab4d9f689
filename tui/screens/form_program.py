"""What the form edits for a program of the user's own: a row for each of its arguments."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torchconsole.engine.config.preset_keys import KeyInfo
from torchconsole.engine.config.program_arguments import Argument, ProgramArguments
from torchconsole.engine.config.script_draft import ARGS, FOLDER, ScriptDraft
from torchconsole.engine.text import printable
from torchconsole.tui.form_rows import placeholder
from torchconsole.tui.program_texts import argument_meaning
from torchconsole.tui.screens.form_content import Look
from torchconsole.tui.widgets.form_fields import Field
from torchconsole.tui.widgets.frames import FramedLines, framed, inner_size
from torchconsole.tui.widgets.lines import Line, wrap
from torchconsole.tui.widgets.setting_rows import SettingRows

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import CheckReport

ARGUMENTS, PROGRAM = "arguments", "program"
"""Groups of the rows; the program's parser may name others."""


class ProgramContent:
    """The arguments of a program, with the command that they give."""

    begins_with_check = True
    checking = "running the program until it parses its arguments..."
    failed = "arguments not found"

    def __init__(self, path: Path) -> None:
        self.draft = ScriptDraft(path)
        self.rows = ProgramRows(self.draft)
        self.side = CommandPane(self.draft)

    @property
    def is_refused(self) -> bool:
        """Whether a field has an error: the program would end with it at once."""
        return bool(self.draft.errors)

    async def load(self) -> str:
        """Nothing takes long: the check finds the arguments."""
        return ""

    async def look(self) -> Look:
        """Check what is typed."""
        return Look(self.draft.errors, {}, _infos(self.draft))

    async def preview(self, errors: list[str], warnings: Mapping[str, str]) -> None:
        """Show the command."""
        self.side.redraw()

    def use(self, result: CheckReport | ProgramArguments | str | None) -> bool:
        """Take over the arguments, at first and after the program was edited."""
        if not isinstance(result, ProgramArguments) or not result.arguments:
            return False
        if [*map(_definition, result.arguments)] == [*map(_definition, self.draft.arguments.values())]:
            return False
        self.draft.use(result)
        self.side.description = result.description
        for key, row in self.rows.rows.items():
            row.set_value(self.draft.text(key))
        return True


class ProgramRows(SettingRows):
    """A row for each argument, then those for the other words and the working folder."""

    def __init__(self, draft: ScriptDraft) -> None:
        super().__init__(draft, _infos(draft))
        self._program = draft

    def shown_keys(self, added: Iterable[str]) -> list[str]:
        """Return all keys; what a parser groups is together."""
        keys = list(self._program.arguments)
        groups = list(dict.fromkeys(map(self._group, keys)))
        return [*sorted(keys, key=lambda key: groups.index(self._group(key))), ARGS, FOLDER]

    def _group(self, key: str) -> str:
        argument = self._program.arguments.get(key)
        return PROGRAM if argument is None else argument.group or ARGUMENTS

    def field(self, key: str) -> Field:
        """Return what a row shows."""
        info = self.infos.get(key) or _infos(self._program)[key]
        return Field(
            key, self._group(key), key, self._program.original(key), info.description, placeholder(key, info),
            info.choices, info.is_open,
        )  # fmt: skip


class CommandPane(FramedLines):
    """Shows the command that runs the program, and what the program says of itself."""

    def __init__(self, draft: ScriptDraft) -> None:
        super().__init__(id="lr")
        self._draft = draft
        self.description = ""

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the frame, the command, and the description."""
        inner, rows = inner_size(width, height, boxed=self.boxed)
        script = self._draft.script
        program = ["-m", script.module] if script.module else [Path(script.file).name]
        command = printable(shlex.join(["python", *program, *self._draft.args]))
        lines: list[Line] = [[(f" {piece}", "text")] for piece in wrap(command, inner - 2)]
        if self.description:
            lines.append([])
            lines += [[(f" {piece}", "muted")] for piece in wrap(printable(self.description), inner - 2)]
        title: Line = [("command", "bold strong")]
        return framed(lines[:rows], width, height, title, [], has_focus=False, boxed=self.boxed)


def _definition(argument: Argument) -> Argument:
    """Return an argument without its present value."""
    return argument.model_copy(update={"given": None})


def _infos(draft: ScriptDraft) -> dict[str, KeyInfo]:
    """Return what each key means."""
    words = "what belongs to none of the arguments above" if draft.arguments else "its arguments"
    return {
        **{key: _info(argument) for key, argument in draft.arguments.items()},
        ARGS: KeyInfo(f"words for the program, quoted as in a shell: {words}"),
        FOLDER: KeyInfo("working folder of the program; the console's if not set"),
    }


def _info(argument: Argument) -> KeyInfo:
    takes_one = argument.kind not in ("list", "repeated")
    choices = argument.choices if takes_one else []
    if argument.alone is not None and choices:
        choices = [*choices, argument.alone]
    named = ", ".join(argument.choices) if argument.choices and not takes_one else argument.type
    return KeyInfo(
        argument_meaning(argument),
        {"list": f"list of {named}", "repeated": f"{named}, each time"}.get(argument.kind, named),
        "required" if argument.required else argument.shown_default,
        tuple(choices),
        is_open=not choices,
    )
