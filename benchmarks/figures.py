"""A figure beside the arms' throughput."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A number with its unit, and how much it may be at most where there is an aim."""

    name: str
    value: float
    unit: str
    most: float | None = None
