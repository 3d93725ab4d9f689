"""How numbers are written: which texts are numbers, and which mean that there is none."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

GAPS = frozenset(
    {
        *("", "?", "-", "--", "---", ".", "..", "...", "*"),
        *("na", "n/a", "n.a.", "<na>", "nan", "-nan", "null", "none", "nil", "#na", "#n/a", "#n/a n/a"),
        *(
            "1.#ind",
            "-1.#ind",
            "1.#qnan",
            "-1.#qnan",
            "#null!",
            "#div/0!",
            "#value!",
            "#ref!",
            "#num!",
            "#name?",
        ),
    }
)
"""Texts that mean that there is no value in a column of numbers, in lower case."""

GROUPS = {",": ",", ".": ".", " ": " \xa0\u2009\u202f", "'": "'\u2019"}
"""Separator of thousands -> the characters that are written for it."""


@dataclass(frozen=True)
class NumberFormat:
    """The decimal point and the separator of thousands, if there is one."""

    decimal: str = "."
    thousands: str | None = None

    def parse(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Return the numbers (N,) float64, nan for what is not a number in this format."""
        pattern, group = self._pattern, self._group
        found = np.full(len(texts), np.nan)
        for position, text in enumerate(texts):
            if pattern.fullmatch(text):
                plain = re.sub(group, "", text) if group else text
                found[position] = float(plain.replace(self.decimal, ".").replace("\u2212", "-"))
        return found

    def fits(self, texts: Sequence[str]) -> bool:
        """Whether all texts are numbers in this format."""
        return all(map(self._pattern.fullmatch, texts))

    def value(self, given: str | float) -> float:
        """Return a number or a text of `data.na_values` as a number, nan for another text."""
        if not isinstance(given, str):
            return float(given)
        return float(
            next((n for form in (self, NumberFormat()) if (n := form.parse([given])[0]) == n), np.nan)
        )

    def whole(self, text: str) -> int | None:
        """Return a whole number with all its digits, None for what is none."""
        if not self._pattern.fullmatch(text):
            return None
        plain = re.sub(self._group, "", text) if self._group else text
        match = re.fullmatch(rf"([+\-\u2212]?[0-9]+)(?:{re.escape(self.decimal)}0*)?", plain)
        return int(match[1].replace("\u2212", "-")) if match else None

    @property
    def _group(self) -> str:
        if self.thousands is None:
            return ""
        return f"[{re.escape(GROUPS.get(self.thousands, self.thousands))}]"

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        point = re.escape(self.decimal)
        grouped = rf"[1-9][0-9]{{0,2}}(?:{self._group}[0-9]{{3}})+|" if self.thousands else ""
        number = rf"(?:(?:{grouped}[0-9]+)(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
        return re.compile(rf"[+\-\u2212]?(?:{number}|[iI]nf(?:inity)?)")


CANDIDATES = [
    NumberFormat(","),
    *(NumberFormat(".", group) for group in (",", " ", "'")),
    *(NumberFormat(",", group) for group in (".", " ", "'")),
]
"""Formats that are detected, apart from that of NumberFormat()."""

FORMATS = (NumberFormat(), *CANDIDATES)
