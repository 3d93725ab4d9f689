"""The user's own keys: `[keys]` of config.toml, checked against the table of keys.

[keys]
pause = "b"
lower_lr = ["-", "f8"]
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textual.keys import KEY_NAME_REPLACEMENTS, key_to_character

from torchconsole.engine.text import did_you_mean
from torchconsole.tui.keys import FORM, SECTIONS, TOGETHER, Action, actions_of

if TYPE_CHECKING:
    from textual.app import App

UserKeys = Mapping[str, tuple[str, ...]]
"""Name of an action in `[keys]` -> Textual's names of its keys. Actions with their own keys are not in it."""

KeyOf = Callable[[str], str]
"""Returns the text of the key of an action, given by its name in `[keys]`."""

_NAMES = (
    *("space", "enter", "escape", "tab", "backspace", "delete", "insert", "home", "end", "pageup"),
    *("pagedown", "up", "down", "left", "right", *(f"f{number}" for number in range(1, 25))),
)
_ALIASES = {"esc": "escape", "del": "delete", "return": "enter", " ": "space"}
_SHOWN = {"escape": "esc", "delete": "del", "minus": "-", "plus": "+", "underscore": "_", "slash": "/"}
_ACTIONS = {action.config_name: action for action in actions_of(*SECTIONS)}
_SENT_AS = {"i": "tab", "m": "enter", "h": "backspace", "left_square_bracket": "esc"}
"""With ctrl, terminals send these as other keys."""
_WITH_CTRL = (
    *("backslash", "right_square_bracket", "circumflex_accent", "underscore"),
    *"abcdefgjklnopqrstuvwxyz",
)
"""All characters that terminals send differently with ctrl."""
_UNMODIFIED = ("space", "enter", "escape", "backspace")
"""Names of keys that terminals send as they are without ctrl or shift."""
_MODIFIERS = ("ctrl", "shift", "alt")
_EDITING = ("space", "backspace", "delete", "left", "right", "home", "end")
"""Keys that lines of text need, besides all characters."""


def read_user_keys(section: Mapping[str, object]) -> tuple[UserKeys, list[str]]:
    """Read `[keys]`. Returns the keys that can be used, and what is wrong with the others, one line for each.

    An action whose keys are wrong keeps its own.
    """
    actions = {action.config_name: action for action in actions_of(*SECTIONS) if not action.is_fixed}
    keys: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for name, value in section.items():
        try:
            if name not in actions:
                raise ValueError(f"unknown action{did_you_mean(name, actions)}")
            keys[name] = _parse_keys(value, types=_works_while_typing(actions[name]))
        except ValueError as error:
            problems.append(f"keys.{name}: {error}")
    while conflict := next(_conflicts(keys), None):
        name, problem = conflict
        del keys[name]
        problems.append(f"keys.{name}: {problem}")
    return keys, problems


def keys_of(app: App[Any], action: Action) -> tuple[str, ...]:
    """Return the keys of an action in this app: the user's, or else its own."""
    user_keys: UserKeys = getattr(app, "user_keys", {})
    return user_keys.get(action.config_name, action.keys)


def shown_key(app: App[Any], action: Action) -> str:
    """Return the key to show for an action, or an empty text for one that is not in key lines."""
    if not action.shown_key or keys_of(app, action) == action.keys:
        return action.shown_key
    return shown(keys_of(app, action)[0])


class Hint(str):
    """The first text of a hint in a line. A click on it, or on the text after it, does the action."""

    action: Action

    @classmethod
    def of(cls, text: str, name: str) -> Hint:
        """Return a text that stands for an action, given by its name in `[keys]`."""
        hint = cls(text)
        hint.action = _ACTIONS[name]
        return hint


def key_named(app: App[Any], name: str) -> Hint:
    """Return the text of the first key of an action, given by its name in `[keys]`."""
    return Hint.of(shown(keys_of(app, _ACTIONS[name])[0]), name)


def key_hints(app: App[Any], tone: str = "muted", **labels: str) -> list[tuple[str, str]]:
    """Return `/ search  v view` as spans of a line: labels by the names of their actions in `[keys]`.

    `tone` is that of the keys. A click on a hint does what its key does.
    """
    spans: list[tuple[str, str]] = []
    for name, label in labels.items():
        gap = [("  ", "faint")] if spans else []
        spans += [*gap, (key_named(app, name), tone), (f" {label}", "faint")]
    return spans


def toggle_hints(toggles: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return `y log  smooth off` as spans of a line. A name that is a `Hint` can be clicked."""
    spans: list[tuple[str, str]] = []
    for name, value in toggles:
        gap = [("  ", "faint")] if spans else []
        spans += [*gap, (name, "faint"), (f" {value}", "bold muted")]
    return spans


def shown(key: str) -> str:
    """Return one of Textual's names of keys as people write it: `-`, `?`, `ctrl+p`, `esc`."""
    return _SHOWN.get(key) or (None if key in _NAMES else key_to_character(key)) or key


def parse_key(text: str) -> str:
    """Return Textual's name of a key that a user has written. Raises ValueError."""
    before, _, key = text[:-1].rpartition("+") if text else ("", "", "")
    key += text[-1:]
    modifiers = before.split("+") if before else []
    key = _ALIASES.get(key.lower(), key)
    if len(key) == 1 and key.isprintable():
        if "shift" in modifiers and "ctrl" in modifiers:
            raise ValueError(f"{text!r}: terminals send it as ctrl+{key.lower()}; choose another key")
        if "shift" in modifiers:
            raise ValueError(f"{text!r}: write the character that shift gives, for example {key.upper()!r}")
        key = _character_name(key)
    elif key.lower() in _NAMES:
        key = key.lower()
    else:
        raise ValueError(f"{text!r} is no key{did_you_mean(key, _NAMES)}")
    if unknown := [name for name in modifiers if name.lower() not in _MODIFIERS]:
        raise ValueError(f"{text!r}: unknown modifier {unknown[0]!r}; use ctrl, shift or alt")
    held = sorted({name.lower() for name in modifiers})
    if problem := _why_unseen(held, key):
        raise ValueError(f"{text!r}: {problem}; choose another key")
    return "+".join([*held, key])


def _why_unseen(held: Sequence[str], key: str) -> str:
    """Return why a console cannot see a key with these modifiers; empty if it can."""
    if "ctrl" in held and key not in _NAMES:
        if key.lower() in _SENT_AS:
            return f"terminals send it as {_SENT_AS[key.lower()]}"
        if key.lower() in _WITH_CTRL and key not in _WITH_CTRL:
            return f"terminals send it as ctrl+{key.lower()}"
        return "" if key in _WITH_CTRL else "terminals do not send it"
    is_plain = key in _UNMODIFIED and {"ctrl", "shift"} & {*held}
    return "terminals do not send it" if is_plain or (key == "tab" and "ctrl" in held) else ""


def _works_while_typing(action: Action) -> bool:
    return action.while_typing or action in FORM.actions


def _parse_keys(value: object, *, types: bool) -> tuple[str, ...]:
    """Return the keys of an action; with `types` they also work where text is typed. Raises ValueError."""
    given = value if isinstance(value, list) else [value]
    keys = [key for key in given if isinstance(key, str) and key]
    if not keys or len(keys) < len(given):
        raise ValueError('must be a key or a list of keys, for example "p" or ["p", "f5"]')
    parsed = tuple(map(parse_key, keys))
    if types and (taken := [key for key in parsed if key in _EDITING or len(shown(key)) == 1]):
        raise ValueError(f"{shown(taken[0])!r} is needed to type text; choose a key like f9 or one with ctrl")
    return parsed


def _character_name(character: str) -> str:
    """Return Textual's name of a printable character."""
    if character.isalnum():
        return character
    name = unicodedata.name(character).lower().replace("-", "_").replace(" ", "_")
    return KEY_NAME_REPLACEMENTS.get(name, name)


def _conflicts(keys: UserKeys) -> Iterator[tuple[str, str]]:
    """Yield the name of an action with a key of the user's that another action on the same screen has too."""
    for screen, sections in TOGETHER.items():
        for one, other in itertools.combinations(actions_of(*sections), 2):
            chosen = next((action for action in (other, one) if action.config_name in keys), None)
            if chosen is None or one.config_name == other.config_name:
                continue
            shared = {*keys.get(one.config_name, one.keys)} & {*keys.get(other.config_name, other.keys)}
            is_by_focus = bool({*one.keys} & {*other.keys}) and one.overtakes == other.overtakes
            if shared and not is_by_focus and shared - ({*one.keys} & {*other.keys}):
                taken = other if chosen is one else one
                key = shown(min(shared))
                problem = f"{key!r} is a key of {taken.config_name} on {screen}; choose another"
                yield chosen.config_name, problem
