"""Shell completion of presets, runs and the keys of --set. Commands and options are completed by typer."""

from __future__ import annotations

from pathlib import Path

from typer import Context

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import printable


def complete_preset(incomplete: str) -> list[tuple[str, str]]:
    """Names of presets that begin with the text, each with its title."""
    from torchconsole.engine.config.preset_index import list_presets

    try:
        return [
            (preset.name, printable(preset.title))
            for preset in list_presets()
            if preset.name.startswith(incomplete)
        ]
    except (TorchconsoleError, OSError):
        return []


def complete_run(ctx: Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of runs that begin with the text, each with its status; live ones and the newest first."""
    from torchconsole.engine.run.registry import list_runs

    folder = ctx.params.get("runs_dir")
    try:
        runs = list_runs(Path(folder) if folder else None)
    except (TorchconsoleError, OSError):
        return []
    return [(run.name, run.status) for run in runs if run.name.startswith(incomplete)]


def complete_setting(ctx: Context, incomplete: str) -> list[tuple[str, str]]:
    """Keys of a preset, or after `key=` the values of a key that has a fixed set of them.

    Keys of the preset on the command line if it is known by now, else those that every preset can have.
    """
    from torchconsole.engine.config.preset_keys import choices_of, known_keys

    key, has_value, value = incomplete.partition("=")
    if has_value:
        return [(f"{key}={choice}", "") for choice in choices_of(key) if choice.startswith(value)]
    keys = known_keys(_content_of(ctx.params.get("preset")), None)
    return [(name, printable(text)) for name, text in keys.items() if name.startswith(incomplete)]


def _content_of(preset: str | None) -> dict[str, object]:
    from torchconsole.engine.config.loading import load_preset

    if preset is None:
        return {}
    try:
        return load_preset(preset).model_dump(exclude_none=True)
    except (TorchconsoleError, OSError):
        return {}
