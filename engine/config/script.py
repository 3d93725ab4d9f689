"""A program of the user's own as what a run trains: the `[script]` of its preset.toml. Torch-free."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torchconsole.engine.config.preset_files import read_toml
from torchconsole.engine.errors import PresetError
from torchconsole.engine.files import write_atomically


@dataclass(frozen=True)
class Script:
    """A Python program: `file`, an absolute path, or `module`, a dotted name; one of them is empty.

    It gets `args`, the working folder `folder`, and `env` in addition to the environment. `sha256` is that of
    the content that the user has agreed to run; empty for a program that was typed on a command line. So many
    `processes` run it together.
    """

    file: str = ""
    module: str = ""
    args: list[str] = field(default_factory=list)
    folder: str = ""
    env: dict[str, str] = field(default_factory=dict)
    sha256: str = ""
    processes: int = 1

    @property
    def settings(self) -> dict[str, Any]:
        """What is set, as plain content; without the hash."""
        return {name: value for name, value in self.content.items() if name != "sha256"}

    @property
    def content(self) -> dict[str, Any]:
        """What is set, as plain content."""
        values = asdict(self).items()
        return {name: value for name, value in values if value and (name, value) != ("processes", 1)}

    @property
    def title(self) -> str:
        """The command as a person would type it, without `python`."""
        program = f"-m {self.module}" if self.module else Path(self.file).name
        return f"{program} {shlex.join(self.args)}".rstrip()

    @property
    def name(self) -> str:
        """A name for its runs: that of the file or module."""
        return Path(self.file).stem if self.file else self.module.removesuffix(".__main__")


def write_script(script: Script, path: Path) -> None:
    """Write the preset of a script run. Raises OSError."""
    write_atomically(path, dump_script(script).encode())


def dump_script(script: Script) -> str:
    """Return the preset of a script run as TOML."""
    import tomlkit  # not needed to list presets

    return tomlkit.dumps({"title": script.title, "script": script.content})


def read_script(path: Path) -> Script | None:
    """Read the program that a run's preset names; None if it is not a script run.

    Raises PresetError if the preset cannot be read.
    """
    return script_in(read_toml(path), path)


def script_in(content: dict[str, Any], path: Path) -> Script | None:
    """Return the program that a preset names; None if it names none. Raises PresetError."""
    section = content.get("script")
    if section is None:
        return None
    try:
        script = Script(**section)
    except TypeError as error:
        raise PresetError(f"{path}: [script] cannot be read: {error}") from error
    if not (isinstance(script.args, list) and isinstance(script.env, dict)):
        raise PresetError(f"{path}: [script] needs a list as args, and a table as env")
    texts = [script.file, script.module, script.folder, script.sha256, *script.args, *script.env.values()]
    if not all(isinstance(text, str) for text in texts) or bool(script.file) == bool(script.module):
        raise PresetError(f"{path}: [script] needs file or module, and texts as args")
    if type(script.processes) is not int or script.processes < 1:
        raise PresetError(f"{path}: [script] processes: must be a whole number of 1 or more")
    return script


def program_environment(env: dict[str, str]) -> dict[str, str]:
    """Return a program's variables. PYTHONPATH is among them: a worker's has no folders of the user's."""
    given = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": given, **env} if given else env
