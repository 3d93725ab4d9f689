"""`torchconsole presets` and `torchconsole show`: what can be trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.tui.cli.choosing import agree_to_own_code, choose_preset
from torchconsole.tui.cli.options import AsJson, Overrides, PresetName, Trust
from torchconsole.tui.cli.output import print_json, print_table

if TYPE_CHECKING:
    from torchconsole.engine.config.data_location import DataState
    from torchconsole.engine.config.preset_index import PresetEntry


def presets(as_json: AsJson = False) -> int:
    """List the presets.

    They are those in ./presets, in the user's config folder, and those that ship. DATA says whether a
    preset's data is on this machine: here, missing, to be downloaded by the start, or unknown.
    """
    from torchconsole.engine.config.preset_index import list_presets

    entries = [(entry, _data_state(entry)) for entry in list_presets()]
    if as_json:
        print_json([{**asdict(entry), "path": str(entry.path), "data": state} for entry, state in entries])
    else:
        print_table(
            ("NAME", "TITLE", "GROUP", "DATA", "NEEDS", "PATH"),
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
        bool, typer.Option("--lr", help="Print the learning rate over the run instead; opens the data.")
    ] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> int:
    """Print a preset as a run would use it, defaults included."""
    from torchconsole.engine.config.loading import dump_preset
    from torchconsole.tui.cli.lr_curve import show_lr_curve

    loaded = choose_preset(preset, overrides)
    if lr:
        agree_to_own_code(loaded, trust)
        show_lr_curve(loaded, as_json)
    elif as_json:
        print_json(loaded.model_dump(mode="json"))
    else:
        print(dump_preset(loaded), end="")
    return 0


def _data_state(entry: PresetEntry) -> DataState:
    from torchconsole.engine.config.data_location import find_data

    return "unknown" if entry.problem else find_data(entry.path).state
