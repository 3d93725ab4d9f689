"""What another tool has recorded of one run, in our words: steps with metrics, and settings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torchconsole.engine.text import printable

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

EVALUATED = ("val/", "test/")
"""Begin the names of metrics of evaluations."""


@dataclass
class Step:
    """The metrics of a step. `time` is in seconds since 1970; None if unknown, as is `epoch`."""

    metrics: dict[str, float] = field(default_factory=dict)
    epoch: int | None = None
    time: float | None = None


@dataclass
class Recording:
    """One run. `name` is for people, `source` the file or folder, `format` the tool.

    Bytes of a file's name that are not UTF-8, and control characters, are escaped.
    """

    name: str
    source: str
    format: str
    steps: dict[int, Step] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name, self.source = printable(self.name), printable(self.source)

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics."""
        return list(dict.fromkeys(name for step in self.steps.values() for name in step.metrics))

    def add(self, step: int, name: str, value: float, time: float | None = None) -> None:
        """Add a value. A later one of the same step takes its place."""
        found = self.steps.setdefault(step, Step())
        found.metrics[name] = value
        if time is not None and math.isfinite(time) and time > 0:
            found.time = max(time, found.time or 0.0)


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
    found: dict[str, str] = {}
    for name in names:
        wanted = our_name(name, part)
        is_free = wanted not in found.values() and (wanted == name or wanted not in names)
        found[name] = wanted if is_free else name
    evaluated = {name.removeprefix("val/") for name in found.values() if name.startswith("val/")}
    trained = {name for name, ours in found.items() if name == ours and name in evaluated}
    return {name: f"train/{ours}" if name in trained else ours for name, ours in found.items()}


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
    lower = name.lower()
    return lower if lower in ("loss", "accuracy") else name
