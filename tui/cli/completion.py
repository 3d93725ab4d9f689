"""Shell completion of presets, runs and the keys of --set. typer itself completes commands and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from typer import Context

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import printable

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord

Completions = list[tuple[str, str]]
"""Words with their descriptions."""

_OF_PROGRAM = {
    "script.args": """Arguments of the program, for example '["--lr", "0.1"]'.""",
    "script.env": "Environment variables, for example '{ NAME = \"value\" }'.",
    "script.file": "Python file to run.",
    "script.folder": "Working folder of the program.",
    "script.module": "Module to run instead of a file.",
}
"""The keys of a script preset."""


def complete_preset(incomplete: str) -> Completions:
    """Complete the name of a preset; its title is the description."""
    from torchconsole.engine.config.preset_index import list_presets

    try:
        return [
            (preset.name, printable(preset.title))
            for preset in list_presets()
            if preset.name.startswith(incomplete)
        ]
    except (TorchconsoleError, OSError):
        return []


def complete_run(ctx: Context, incomplete: str) -> Completions:
    """Complete the name of a run, live ones and the newest first; its status is the description."""
    return [(run.name, run.status) for run in _runs(ctx, incomplete)]


def complete_preset_or_run(ctx: Context, incomplete: str) -> Completions:
    """Complete the name of a preset or of a run, the presets first."""
    return [*complete_preset(incomplete), *complete_run(ctx, incomplete)]


def complete_ended_run(ctx: Context, incomplete: str) -> Completions:
    """Complete the name of a run that has ended and is not on the command line yet."""
    given = ctx.params.get("runs") or []
    return [
        (run.name, run.status) for run in _runs(ctx, incomplete) if not run.is_live and run.name not in given
    ]


def complete_setting(ctx: Context, incomplete: str) -> Completions:
    """Complete a key of the preset, or after `key=` its value if the key has a fixed set of values.

    Without a valid preset on the command line, completes the keys that every preset can have. A program of a
    script preset is not asked for its arguments, because it would run.
    """
    from torchconsole.engine.config.preset_keys import choices_of, known_keys

    key, has_value, value = incomplete.partition("=")
    preset = _given_preset(ctx)
    if _runs_program(preset):
        return [(name, text) for name, text in _OF_PROGRAM.items() if name.startswith(incomplete)]
    if has_value:
        return [(f"{key}={choice}", "") for choice in choices_of(key) if choice.startswith(value)]
    keys = known_keys(_preset_content(preset), None)
    return [(name, printable(text)) for name, text in keys.items() if name.startswith(incomplete)]


def complete_live_setting(ctx: Context, incomplete: str) -> Completions:
    """Complete a key that `send RUN set` may change, or after `key=` its value."""
    if ctx.params.get("command") != "set":
        return []
    from torchconsole.engine.config.live_policy import live_keys

    keys = live_keys({})
    return [
        (word, text) for word, text in complete_setting(ctx, incomplete) if word.partition("=")[0] in keys
    ]


def complete_word(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Make a completion of an argument that takes one of these words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def _runs(ctx: Context, incomplete: str) -> Iterator[RunRecord]:
    from torchconsole.engine.run.registry import list_runs

    folder = ctx.params.get("runs_dir")
    try:
        runs = list_runs(Path(folder) if folder else None)
    except (TorchconsoleError, OSError):
        return
    yield from (run for run in runs if run.name.startswith(incomplete))


def _given_preset(ctx: Context) -> str | None:
    """Return the preset on the command line: click leaves it unparsed if an option's value is missing."""
    if "preset" not in ctx.params:
        return None
    return ctx.params["preset"] or next((word for word in ctx.args if not word.startswith("-")), None)


def _runs_program(preset: str | None) -> bool:
    from torchconsole.engine.config.script_presets import load_script

    try:
        return preset is not None and load_script(preset) is not None
    except (TorchconsoleError, OSError):
        return False


def _preset_content(preset: str | None) -> dict[str, object]:
    from torchconsole.engine.config.loading import load_preset

    if preset is None:
        return {}
    try:
        return load_preset(preset).model_dump(exclude_none=True)
    except (TorchconsoleError, OSError):
        return {}
