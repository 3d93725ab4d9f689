"""What another tool has recorded of one run, in our words: steps with metrics, and settings."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torchconsole.engine.text import counted, printable

_PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "eval": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Words for the parts of the data."""

_WORDS = "|".join(_PARTS)
_BEFORE = re.compile(rf"({_WORDS})[_/. -](.+)", re.IGNORECASE)
_AFTER = re.compile(rf"(.+)[_/. -]({_WORDS})", re.IGNORECASE)
_LR = re.compile(r"(train/)?(lr|learning[_ ]rate)", re.IGNORECASE)

_PLAIN = {"loss": "loss", "accuracy": "accuracy", "acc": "accuracy"}
"""Names of metrics, in small letters, with what they are called here."""

MOST_PLACES = 3
"""Places that a note names."""

NOT_A_NUMBER = "left out, not a number"
REPLACED = "replaced by a later one of the same step"
"""What may happen to values."""

EVALUATED = ("val/", "test/")
"""Begin the names of metrics of evaluations."""


@dataclass
class Step:
    """The metrics of a step. `time` is in seconds since 1970; None if unknown, as is `epoch`."""

    metrics: dict[str, float] = field(default_factory=dict)
    epoch: int | None = None
    time: float | None = None


class Notes:
    """What of a source was left out or changed: a line for each kind, with the first places."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._places: dict[tuple[str, str], list[str]] = {}

    def add(self, noun: str, what: str, place: str) -> None:
        """Count a `noun` to which `what` has happened, for example "row", "left out", "line 3"."""
        kind = noun, what
        self._counts[kind] += 1
        places = self._places.setdefault(kind, [])
        if len(places) < MOST_PLACES:
            places.append(printable(place))

    def take(self, other: Notes) -> None:
        """Add what another one has counted."""
        for kind, count in other._counts.items():
            self._counts[kind] += count
            places = self._places.setdefault(kind, [])
            places += other._places[kind][: MOST_PLACES - len(places)]

    @property
    def lines(self) -> list[str]:
        """One line for each kind, such as `2 rows left out, without a step: line 3, line 7`."""
        return [
            f"{counted(count, kind[0])} {kind[1]}: {', '.join(self._places[kind])}"
            f"{', ...' * (count > len(self._places[kind]))}"
            for kind, count in self._counts.items()
        ]


@dataclass
class Recording:
    """One run. `name` is for people, `source` the file or folder, `format` the tool.

    `renamed` has the metrics that are called otherwise here. `notes` are those on the source, which may have
    several runs; `separator` is what separates the columns of a table.

    Bytes of a file's name that are not UTF-8, and control characters, are escaped.
    """

    name: str
    source: str
    format: str
    steps: dict[int, Step] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)
    separator: str = ""

    def __post_init__(self) -> None:
        self.name, self.source = printable(self.name), printable(self.source)

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics."""
        return list(dict.fromkeys(name for step in self.steps.values() for name in step.metrics))

    def add(self, step: int, name: str, value: float, time: float | None = None) -> bool:
        """Add a value, and return whether it takes the place of an earlier one of the same step."""
        found = self.steps.setdefault(step, Step())
        replaces = name in found.metrics
        found.metrics[name] = value
        if time is not None and math.isfinite(time) and time > 0:
            found.time = max(time, found.time or 0.0)
        return replaces

    def rename(self, names: Mapping[str, str]) -> None:
        """Keep what metrics are called here, but for those whose name is the same."""
        self.renamed |= {theirs: ours for theirs, ours in names.items() if theirs != ours}


def our_name(name: str, part: str = "") -> str:
    """Return what a metric is called here: `val_loss`, `Loss/val` and `validation/loss` are `val/loss`.

    `part` is that of the folder in which the metric was found. A loss of no part is that of the training.
    """
    if _LR.fullmatch(name):
        return "lr"
    if part:
        return f"{_PARTS.get(part.lower(), part)}/{_plain(name.removeprefix('epoch_'))}"
    if match := _BEFORE.fullmatch(name):
        return f"{_PARTS[match[1].lower()]}/{_plain(match[2])}"
    if match := _AFTER.fullmatch(name):
        return f"{_PARTS[match[2].lower()]}/{_plain(match[1])}"
    return "train/loss" if name.lower() == "loss" else name


def our_names(names: list[str], part: str = "") -> Mapping[str, str]:
    """Return what each metric is called here. One whose name another one has keeps its own.

    `accuracy` beside `val_accuracy` is that of the training.
    """
    own = {name: f"{_PARTS.get(part.lower(), part)}/{name}" if part else name for name in names}
    found: dict[str, str] = {}
    for name in names:
        wanted = our_name(name, part)
        is_free = wanted not in found.values() and (wanted == own[name] or wanted not in own.values())
        found[name] = wanted if is_free else own[name]
    evaluated = {name.removeprefix("val/") for name in found.values() if name.startswith("val/")}
    for name, ours in found.items():
        wanted = f"train/{_plain(name)}"
        if name == ours and _plain(name) in evaluated and wanted not in found.values():
            found[name] = wanted
    return found


def is_part(name: str) -> bool:
    """Whether a folder's name is a word for a part of the data."""
    return name.lower() in _PARTS


def number(value: object) -> float | None:
    """Return a logged value as a number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(str(value))
    try:
        return float(value)
    except OverflowError:
        return None


def _plain(name: str) -> str:
    return _PLAIN.get(name.lower(), name)
