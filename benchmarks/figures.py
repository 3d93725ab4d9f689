"""Figures beside the arms' throughput, each by a module of its own with `figures(quick=...)`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

MODULES = ("stall", "console", "history")


@dataclass(frozen=True)
class Figure:
    """A number with its unit, and how much it may be at most where there is an aim."""

    name: str
    value: float
    unit: str
    most: float | None = None


def all_figures(*, quick: bool) -> tuple[list[Figure], list[str]]:
    """What every module measures, and the names of those that are not there."""
    found: list[Figure] = []
    missing = []
    for name in MODULES:
        if find_spec(f"benchmarks.{name}") is None:
            missing.append(name)
        else:
            found += import_module(f"benchmarks.{name}").figures(quick=quick)
    return found, missing
