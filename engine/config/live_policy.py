"""Changes a key of the preset of a live run, if it may change in one."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from torchconsole.engine.config.loading import set_key, validate
from torchconsole.engine.config.resume_policy import POLICY, When, differences, rule_for
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import PresetError

LIVE: tuple[When, ...] = ("now", "next epoch")
"""When a key changes that may change in a live run."""


class LiveChange(NamedTuple):
    """A changed preset, and its change for people.

    `place` is the key, or the section around it that is new or gone; `before` and `after` are the plain
    values there, None where there is none.
    """

    preset: Preset
    detail: str
    place: str
    before: Any
    after: Any


def change_live(
    preset: Preset, setting: str, decide: Callable[[Preset], Preset] = lambda preset: preset
) -> LiveChange:
    """Apply `key=value` to the preset of a live run; `key=` unsets the key. `decide` fills what is open then.

    Raises PresetError if the key or its value is wrong, if it may not change in a live run, and if it has
    this value already.
    """
    key = setting.partition("=")[0].strip()
    before = _content(preset)
    content = _content(preset)
    try:
        set_key(content, setting)
        changed = decide(validate(content, "preset.toml", None, [setting]))
    except PresetError as error:
        lines = str(error).splitlines()
        raise PresetError(*(line.removeprefix(f"--set {setting}: ") for line in lines)) from error
    found = differences(preset, changed)
    if not found:
        raise PresetError(f"{key} is {shown_value(value_at(before, key))} already")
    _check(found, setting)
    waits = any(rule_for(each).when == "next epoch" for each in found)
    changes = [f"{each} {shown_value(old)} -> {shown_value(new)}" for each, (old, new) in found.items()]
    detail = ", ".join(changes) + ", from the next epoch on" * waits
    after = _content(changed)
    place = _place(before, after, key)
    return LiveChange(changed, detail, place, value_at(before, place), value_at(after, place))


def live_keys(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that may change in a live run, with their values in plain content; None if not set."""
    return {key: value_at(content, key) for key, rule in POLICY.items() if rule.when in LIVE}


def value_at(content: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key; None if there is none."""
    found: Any = content
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _check(keys: Iterable[str], setting: str) -> None:
    """Raise PresetError if one of the keys may not change in a live run."""
    problems = []
    for key in keys:
        rule = rule_for(key)
        if rule.when == "never":
            problems.append(f"{key} never changes within a run: {rule.reason}")
        elif rule.when == "on resume":
            problems.append(
                f"{key} changes on a resume only: stop the run, then torchconsole resume RUN "
                f"--set {shlex.quote(setting)}"
            )
    if problems:
        raise PresetError(*problems)


def _content(preset: Preset) -> dict[str, Any]:
    return preset.model_dump(mode="json", exclude_none=True)


def _place(old: Mapping[str, Any], new: Mapping[str, Any], key: str) -> str:
    """Return the first section on the way to a key that only one of both has; else the key."""
    parts = key.split(".")
    for depth in range(1, len(parts)):
        section = ".".join(parts[:depth])
        if not all(isinstance(value_at(content, section), Mapping) for content in (old, new)):
            return section
    return key


def shown_value(value: Any) -> str:
    """Format a plain value of a preset."""
    if value is None:
        return "unset"
    return str(value).lower() if isinstance(value, bool) else str(value)
