"""Compares the settings of runs and presets: which keys differ, and whether only the seed does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Settings = dict[str, Any]
"""Dotted key -> value; a list of tables has a key for each key of each table: `schedule.0.name`."""

SEED = "training.seed"

DESCRIBING = ("title", "description", "needs", "group", "script.sha256")
"""Keys that are for people and train nothing."""

DECIDED = (
    "data.normalize", "data.in_memory", "data.num_workers", "data.scale_target", "data.vocabulary",
    "data.max_length", "optimizer.fused", "early_stopping.mode", "training.channels_last",
    "training.threads", "training.log_every", "training.precision",
)  # fmt: skip
"""Keys that a run records with what it decided or measured, if the preset left them open."""

_OPEN = (None, "auto")
"""Values that leave a key to the run."""


def flatten(content: Mapping[str, Any]) -> Settings:
    """Return a preset's content by dotted key, without what describes it to people."""
    return {key: value for key, value in _leaves(content, "") if key not in DESCRIBING}


def preset_settings(path: Path) -> Settings:
    """Read the settings of a preset, with defaults, as a run of it gets them. Raises PresetError."""
    from torchconsole.engine.config.data_location import with_absolute_files
    from torchconsole.engine.config.loading import load_preset
    from torchconsole.engine.config.script_presets import load_script

    if (script := load_script(str(path))) is not None:
        return flatten({"script": script.settings})
    preset = with_absolute_files(load_preset(str(path)))
    return flatten(preset.model_dump(mode="json", exclude_none=True))


def differing_keys(settings: Sequence[Settings]) -> list[str]:
    """Return the keys whose values are not the same in all settings, in the order of the settings."""
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if any(not _equal(each, settings[0], key) for each in settings)]


def changes_from_preset(run: Settings, preset: Settings) -> dict[str, tuple[Any, Any]]:
    """Return what a run sets otherwise than its preset: key -> (value of the preset, value of the run).

    What the preset leaves to the run is no difference. None stands for a key that is not set. Of a section
    that the run does not have at all, there is only its name, with the preset's value "set".
    """
    changed: dict[str, tuple[Any, Any]] = {}
    sections = {key.partition(".")[0] for key in run}
    for key in differing_keys([preset, run]):
        section, dot, _ = key.partition(".")
        if dot and section not in sections:
            changed[section] = "set", None
        elif not (_is_decided(key) and _left_open(key, preset)):
            changed[key] = preset.get(key), run.get(key)
    return changed


def same_but_seed(one: Settings, other: Settings) -> bool:
    """Whether two runs differ in the seed at most, and in what follows from it or from the machine."""
    return all(key == SEED or _is_decided(key) for key in differing_keys([one, other]))


def seed_groups(settings: Sequence[Settings]) -> list[list[int]]:
    """Return the indices of runs that differ in the seed alone, in groups of at least two."""
    groups: list[list[int]] = []
    for index, each in enumerate(settings):
        for group in groups:
            if same_but_seed(settings[group[0]], each):
                group.append(index)
                break
        else:
            groups.append([index])
    return [group for group in groups if _seeds(settings[index] for index in group) > 1]


def _seeds(settings: Iterable[Settings]) -> int:
    return len({repr(each.get(SEED)) for each in settings})


def _is_decided(key: str) -> bool:
    return any(key == decided or key.startswith(f"{decided}.") for decided in DECIDED)


def _left_open(key: str, preset: Settings) -> bool:
    """Whether a preset leaves a key, or the section that it is in, to the run."""
    while key:
        if key in preset and preset[key] not in _OPEN:
            return False
        key = key.rpartition(".")[0]
    return True


def _equal(one: Settings, other: Settings, key: str) -> bool:
    """Whether two settings agree on a key; true is not 1, and nan is itself."""
    if (key in one) is not (key in other):
        return False
    return key not in one or repr(one[key]) == repr(other[key]) or _same_number(one[key], other[key])


def _same_number(one: Any, other: Any) -> bool:
    """Whether 1 and 1.0, which TOML keeps apart, mean the same."""
    return type(one) in (int, float) and type(other) in (int, float) and bool(one == other)


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    prefix = f"{key}." if key else ""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{prefix}{name}")
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{prefix}{index}")
    elif key and value not in ({}, []):
        yield key, value
