"""Recognizes texts that are numbers with a unit, such as `12 %`, `$5` and `10k`."""

from __future__ import annotations

import re
from collections.abc import Sequence

NUMBER_WITH_UNIT = re.compile(r"([$€£¥₹]?)\s?[+-]?[0-9][0-9.,' ]*?\s?(%|[$€£¥₹]|[^\W\d_]{0,4})")

SCALES = {"", "k", "m", "b", "bn", "t", "tsd", "mio", "mn", "mrd"}
"""Short words for thousands and more, in lower case; small numbers are written without one."""

SAME_QUANTITY = (
    {"mg", "g", "kg", "t", "lb", "lbs", "oz"},
    {"mm", "cm", "m", "km", "ft", "in", "mi"},
    {
        "ms",
        "s",
        "sec",
        "secs",
        "min",
        "mins",
        "h",
        "hr",
        "hrs",
        "d",
        "day",
        "days",
        "w",
        "mo",
        "y",
        "yr",
        "yrs",
    },
    {"b", "kb", "mb", "gb", "tb", "kib", "mib", "gib"},
    {"ml", "cl", "dl", "l"},
    {"eur", "usd", "gbp", "chf", "jpy", "€", "$", "£", "¥", "₹"},
)
"""Units that are used for the same quantity, in lower case."""

MAX_WORDS = 10
"""Up to this many different texts without a digit, such as "unknown", may be among the numbers."""


def have_units(labels: Sequence[str]) -> bool:
    """Whether the texts are numbers with the same unit, or with units of the same quantity."""
    numbers = [label for label in labels if any(map(str.isdigit, label))]
    if len(labels) - len(numbers) > min(MAX_WORDS, len(numbers)):
        return False
    found = set()
    for label in numbers:
        if (match := NUMBER_WITH_UNIT.fullmatch(label)) is None:
            return False
        found.add((match[1] + match[2]).lower())
    if found in (set(), {""}):
        return False
    if len(found) == 1:
        return True
    return (found <= SCALES and found != {"", "b"}) or any(found <= units for units in SAME_QUANTITY)
