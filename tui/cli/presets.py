"""`torchconsole presets` and `torchconsole show`: what can be trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from torchconsole.tui.cli.choosing import agree_to_own_code, choose_preset
from torchconsole.tui.cli.options import AsJson, Overrides, PresetName, Trust
from torchconsole.tui.cli.output import print_json, print_table


def presets(as_json: AsJson = False) -> int:
    """List the presets.

    They are those in ./presets, in the user's config folder, and those that ship.
    """
    from torchconsole.engine.config.library import list_presets

    entries = list_presets()
    if as_json:
        print_json([{**asdict(entry), "path": str(entry.path)} for entry in entries])
    else:
        print_table(
            ("NAME", "TITLE", "PATH"), [(entry.name, entry.title, str(entry.path)) for entry in entries]
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
