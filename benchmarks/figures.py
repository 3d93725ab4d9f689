"""A measured figure other than throughput."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured value with its unit and, if there is a target, the largest value that meets it."""

    name: str
    value: float
    unit: str
    most: float | None = None
