"""The arguments of a program that someone edits, as a draft of the script preset that names the program."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from torchconsole.engine.config.draft import Draft, as_typed
from torchconsole.engine.config.program_arguments import (
    Argument,
    ProgramArguments,
    argument_errors,
    command_line,
)
from torchconsole.engine.config.script_presets import script_of
from torchconsole.engine.user_folders import expand_user

ARGS, FOLDER = "script.args", "script.folder"
"""Keys of the words that belong to no argument, and of the program's working folder."""


class ScriptDraft(Draft):
    """The changes have the keys of the program's arguments (`--lr`, `data`), ARGS and FOLDER.

    Until the arguments are known, ARGS has all words. Raises PresetError if the preset cannot be used.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.script = script_of(self.base, path)
        self._found = ProgramArguments(rest=self.script.args)
        self._arguments: dict[str, Argument] = {}
        self._found_for = self.script.args

    @property
    def arguments(self) -> dict[str, Argument]:
        """The program's arguments, by key; empty until they are known, or if it has none."""
        return self._arguments

    def use(self, found: ProgramArguments) -> None:
        """Take over the arguments, found for the present words: what was typed is given by now."""
        self._found_for = self.args
        self._found = found
        self._arguments = {each.key: each for each in found.arguments}
        self.changes = {key: text for key, text in self.changes.items() if key == FOLDER}

    @property
    def args(self) -> list[str]:
        """The words for the program. Those of the preset, as long as they cannot be made."""
        if not self.changes.keys() & {ARGS, *self._arguments}:
            return self._found_for
        texts = {key: self.text(key) for key in self._arguments}
        try:
            return command_line(self._found.arguments, texts, self._rest)
        except ValueError:
            return self._found_for

    @property
    def errors(self) -> list[str]:
        """A line `key: what is wrong` for each error."""
        return list(self._find_errors())

    def _find_errors(self) -> Iterator[str]:
        texts = {key: self.text(key) for key in self._arguments}
        yield from argument_errors(self._found.arguments, texts, self._found.required_groups)
        try:
            _ = self._rest
        except ValueError:
            yield f"{ARGS}: a quote is not closed"
        folder = self.changes.get(FOLDER)
        if folder and not expand_user(folder).is_dir():
            yield f"{FOLDER}: there is no folder {folder}"

    @property
    def _rest(self) -> list[str]:
        """The words that belong to no argument. Raises ValueError for an open quote."""
        return shlex.split(self.changes[ARGS]) if ARGS in self.changes else self._found.rest

    @property
    def applied(self) -> dict[str, str]:
        """The changes as those of the preset."""
        section = self.base["script"]
        changes = {"script.sha256": ""} if "sha256" in section else {}
        if self.args != section.get("args", []):
            changes[ARGS] = as_typed(self.args)
        if (folder := self.changes.get(FOLDER)) is not None:
            changes[FOLDER] = as_typed(str(expand_user(folder).absolute()) if folder else "")
        return changes

    def problem_of(self, key: str) -> str:
        """See Draft."""
        known = key in self._arguments or key in (ARGS, FOLDER)
        return "" if known else f"{key}: the program has no such argument"

    def original(self, key: str) -> str:
        """See Draft."""
        if key == ARGS:
            return shlex.join(self._found.rest)
        argument = self._arguments.get(key)
        return super().original(key) if argument is None else argument.original

    def has(self, key: str) -> bool:
        """See Draft."""
        if key == ARGS:
            return bool(self._found.rest)
        argument = self._arguments.get(key)
        return super().has(key) if argument is None else argument.given is not None
