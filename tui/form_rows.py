"""Which keys of a preset the form shows, in which order, and under which names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torchconsole.engine.config.data_location import FILES, FOLDERS

if TYPE_CHECKING:
    from torchconsole.engine.config.draft import Draft
    from torchconsole.engine.config.preset_keys import KeyInfo

OWN_DATA = ("data.root", "data.text", "data.target")
"""Keys that a preset for data of the user's sets, and the user must adapt."""

COMMON = (
    "training.epochs",
    "data.batch_size",
    "training.device",
    "training.precision",
    "training.seed",
    "early_stopping.patience",
)
"""The keys that every form shows, after what the preset is about."""

SECTIONS = ("data", "model", "optimizer", "schedule", "loss")
"""What a preset is about."""

_ABOUT_ITSELF = ("title", "description", "needs", "group")
"""Texts of the menu; the title is asked for when the preset is saved."""

_FITTED = ("input_shape", "num_classes", "num_outputs", "vocab_size")
"""Arguments of models that come from the data."""

_USUAL = ("optimizer.momentum", "optimizer.weight_decay", "schedule.0.gamma")

NO_SCHEDULE = "constant lr"
_PLACEHOLDERS = {"early_stopping.patience": "off: type a number", "schedule.0.name": NO_SCHEDULE}


def shown_keys(draft: Draft, infos: Mapping[str, KeyInfo], added: Iterable[str] = ()) -> list[str]:
    """Return the keys to show, in order: those the preset is about, the common and the `added` ones."""
    wanted = {*_about(draft, infos), *COMMON, *added}
    return sorted(wanted, key=lambda key: _place(key, list(infos)))


def group_of(key: str) -> str:
    """Return the section that a key is listed under."""
    if key in COMMON:
        return "training"
    section = key.partition(".")[0]
    return (
        "training"
        if section in ("early_stopping", "ema", "evaluation", "checkpoint", "training")
        else section
    )


def label_of(key: str) -> str:
    """Return the name of a key in its group."""
    group, section = group_of(key), key.partition(".")[0]
    if key in COMMON or section == "early_stopping":
        return key.rpartition(".")[2].replace("_", " ")
    return key.removeprefix(f"{group}.") if section == group else key


def placeholder(key: str, info: KeyInfo | None) -> str:
    """Return what an empty field shows: the default."""
    if key in _PLACEHOLDERS:
        return _PLACEHOLDERS[key]
    default = info.default if info else ""
    return "not set" if not default else "required" if default == "required" else f"default: {default}"


def _about(draft: Draft, infos: Mapping[str, KeyInfo]) -> Iterator[str]:
    content = draft.content
    data = content.get("data")
    source = data.get("name") if isinstance(data, dict) else None
    if source in FOLDERS or source in FILES:
        yield "data.root"
    for key, info in infos.items():
        is_set = draft.has(key) and _differs(draft, key, info)
        if key in _ABOUT_ITSELF or _is_shown_in_parts(key, content) or _has_parts(key, draft, infos):
            continue
        if is_set or _is_name(key, content) or _is_argument_to_show(key, info, content):
            yield key


def _is_name(key: str, content: Mapping[str, Any]) -> bool:
    section, _, rest = key.partition(".")
    if section == "schedule":
        entries = content.get("schedule")
        count = len(entries) if isinstance(entries, list) else 0
        is_part = rest.endswith(".name") and rest.count(".") == 1
        return is_part and _number(rest) < max(1, count)
    return section in SECTIONS and rest == "name"


def _is_argument_to_show(key: str, info: KeyInfo, content: Mapping[str, Any]) -> bool:
    section, _, rest = key.partition(".")
    is_argument = info.description.startswith("argument of ")
    if section == "model":
        return is_argument and "." not in rest and rest not in _FITTED
    if not is_argument or section not in SECTIONS or rest.count(".") > (section == "schedule"):
        return False
    return info.default == "required" or key in _USUAL


def _is_shown_in_parts(key: str, content: Mapping[str, Any]) -> bool:
    """Whether the keys within a list are shown instead of the list, or the list instead of them."""
    if key == "schedule":
        return True
    section, _, rest = key.partition(".")
    return section != "schedule" and any(part.isdecimal() for part in rest.split("."))


def _has_parts(key: str, draft: Draft, infos: Mapping[str, KeyInfo]) -> bool:
    """Whether the keys of a table are shown instead of it."""
    return any(name.startswith(f"{key}.") and draft.has(name) and not _in_list(name, key) for name in infos)


def _in_list(name: str, key: str) -> bool:
    return name.removeprefix(f"{key}.").partition(".")[0].isdecimal()


def _differs(draft: Draft, key: str, info: KeyInfo) -> bool:
    """Whether a value is not just the default; a run's preset has all of them."""
    text = draft.original(key)
    return key in OWN_DATA or text not in (info.default, "[]", "{}")


def _number(rest: str) -> int:
    first = rest.partition(".")[0]
    return int(first) if first.isdecimal() else 0


def _place(key: str, known: list[str]) -> tuple[int, int, int, str]:
    if key in OWN_DATA:
        return 0, 0, OWN_DATA.index(key), key
    if key in COMMON:
        return len(SECTIONS), 0, COMMON.index(key), key
    section = key.partition(".")[0]
    part = SECTIONS.index(section) if section in SECTIONS else len(SECTIONS) + 1
    number = _number(key.partition(".")[2]) if section == "schedule" else 0
    own = known.index(key) if key in known else len(known)
    return part, number + 1, -1 if key.endswith(".name") and key.count(".") <= 2 else own, key
