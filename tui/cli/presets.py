"""`torchconsole presets` and `torchconsole show`; and how every command loads and trusts a preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.text import printable_toml
from torchconsole.tui.cli.options import AsJson, Overrides, PresetName, Trust
from torchconsole.tui.cli.terminal import confirm, has_terminal, print_json, print_table
from torchconsole.tui.table import Column

if TYPE_CHECKING:
    from torchconsole.engine.config.data_location import DataState
    from torchconsole.engine.config.preset_index import PresetEntry
    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.config.script import Script
    from torchconsole.engine.config.user_imports import UserFile

COLUMNS = (
    Column("NAME"),
    Column("TITLE", rank=2, least=28),
    Column("GROUP", rank=4, least=16),
    Column("DATA", rank=1),
    Column("NEEDS", rank=3, least=20),
    Column("PATH", rank=5, least=30, cut="start"),
)


def presets(as_json: AsJson = False) -> int:
    """List the presets.

    These are the presets in ./presets, those in your config folder, and those that ship with torchconsole.
    DATA tells whether a preset's data is on this machine: here, missing, download (at the first start) or
    unknown; program: a program of yours knows.
    """
    from torchconsole.engine.config.preset_index import list_presets

    entries = [(entry, "program" if entry.script else _data_state(entry)) for entry in list_presets()]
    if as_json:
        print_json([{**asdict(entry), "path": str(entry.path), "data": state} for entry, state in entries])
    else:
        print_table(
            COLUMNS,
            [
                (entry.name, entry.title, entry.group, state, entry.needs, str(entry.path))
                for entry, state in entries
            ],
        )
    return 0


def show(
    preset: PresetName,
    overrides: Overrides = None,
    lr: Annotated[
        bool,
        typer.Option("--lr", help="Print the learning rate over the run instead. This opens the data."),
    ] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> int:
    """Print a preset as a run would use it, with its defaults."""
    from torchconsole.engine.config.loading import dump_preset
    from torchconsole.engine.config.script import dump_script
    from torchconsole.engine.config.script_presets import load_script
    from torchconsole.tui.cli.lr_curve import show_lr_curve

    if not lr and (script := load_script(preset, overrides or [])) is not None:
        if as_json:
            print_json({"script": script.settings})
        else:
            print(printable_toml(dump_script(script)), end="")
        return 0
    loaded = load_checked_preset(preset, overrides)
    if lr:
        require_trust(loaded, trust)
        show_lr_curve(loaded, as_json)
    elif as_json:
        print_json(loaded.model_dump(mode="json"))
    else:
        print(printable_toml(dump_preset(loaded)), end="")
    return 0


def load_checked_preset(name: str, overrides: Sequence[str] | None) -> Preset:
    """Load a preset and check it against torch's classes. Raises PresetError with every mistake in it."""
    from torchconsole.engine.client.catalogue_cache import load_catalogue
    from torchconsole.engine.config.loading import load_preset

    return load_preset(name, overrides or [], load_catalogue())


def require_trust(preset: Preset | Script, is_trusted: bool) -> None:
    """Make sure that the user trusts each Python file that the preset runs, and those that they import.

    Of a program of the user's own, only its file is asked about.

    Asks about all together, once for each content, if there is a terminal; again if a file has changed while
    the question waited. `is_trusted` is the option --trust. Raises TrustError.
    """
    from torchconsole.engine.config.script import Script
    from torchconsole.engine.config.script_presets import NOT_COVERED, untrusted_script
    from torchconsole.engine.config.user_code import describe_files, trust, untrusted_files
    from torchconsole.engine.errors import TrustError

    limits = f" {NOT_COVERED}" if isinstance(preset, Script) else ""
    asked: list[UserFile] = []
    while files := (
        untrusted_script(preset) if isinstance(preset, Script) else untrusted_files(preset.model_dump())
    ):
        if files == asked:
            for file in files:
                trust(file.path, file.content)
            return
        found, these = describe_files(files), "this file" if len(files) == 1 else "these files"
        question = f"This preset runs {found}.{limits} Do you trust {these}?"
        if not (is_trusted or (has_terminal() and confirm(question))):
            raise TrustError(
                f"not started, since you do not trust {found}; read {these}, then pass --trust.{limits}"
            )
        asked = files


def refuse_options(script: Script, given: Mapping[str, object]) -> None:
    """Raise PresetError for options that mean nothing to a program of the user's own."""
    from torchconsole.engine.errors import PresetError

    if option := next((name for name, value in given.items() if value), None):
        raise PresetError(
            f"{option} is not for a program of yours ({script.name}), which gets its own arguments when "
            """it is started: --set 'script.args=["--lr", "0.1"]'"""
        )


def _data_state(entry: PresetEntry) -> DataState:
    from torchconsole.engine.config.data_location import find_data
    from torchconsole.engine.errors import PresetError

    try:
        return find_data(entry.path).state
    except PresetError:  # it cannot be read, or was removed just now
        return "unknown"
