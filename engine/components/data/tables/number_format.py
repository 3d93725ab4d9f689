"""How numbers are written: which texts are numbers, and which mean that there is none."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchconsole.engine.errors import DataError

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

    @property
    def _group(self) -> str:
        if self.thousands is None:
            return ""
        return f"[{re.escape(GROUPS.get(self.thousands, self.thousands))}]"

    @property
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


def find_number_format(
    frame: Any,
    samples: Mapping[str, Sequence[str]],
    given: tuple[str | None, str | None],
    not_numbers: Collection[str],
    file: str,
) -> tuple[NumberFormat, list[str]]:
    """Return the format in which all numbers of a table are written, and a note if it is not the usual one.

    `samples` has some values of each column as they are written; `given` are the decimal point and the
    separator of thousands, if the user has set them. Raises DataError if columns contradict each other, and
    if a number can be read in two ways.
    """
    usual = NumberFormat(given[0] or ".", given[1])
    wanted = [
        candidate
        for candidate in (usual, *CANDIDATES)
        if given[0] in (None, candidate.decimal) and given[1] in (None, candidate.thousands)
    ]
    texts = {
        name: values for name in frame.columns if (values := _column_texts(frame, name, samples, not_numbers))
    }
    special = [
        name
        for name, values in texts.items()
        if not usual.fits(values) and any(form.fits(values) for form in wanted)
    ]
    if not special:
        return usual, []
    first = special[0]
    example = next(value for value in texts[first] if not usual.fits([value]))
    numbers = {name: values for name, values in texts.items() if name in special or usual.fits(values)}
    possible = [form for form in wanted if all(form.fits(values) for values in numbers.values())]
    if not possible:
        raise DataError(
            f"data: the columns of {file} write numbers in different ways, such as {example!r} in {first!r}: "
            f"write them alike, or set data.drop or data.categorical for {first!r}"
        )
    for name, values in numbers.items():
        for value in values:
            _check_ambiguity(possible, value, name, file)
    return possible[0], [_describe(possible[0], usual, first, example)]


def _column_texts(
    frame: Any, name: str, samples: Mapping[str, Sequence[str]], not_numbers: Collection[str]
) -> list[str]:
    """Return the different values of a column as they are written, without gaps; for numbers some of them."""
    if name in not_numbers or frame[name].dtype.kind in "biu":
        return []
    values = samples[name] if frame[name].dtype.kind == "f" else frame[name].unique().tolist()
    return [text for value in dict.fromkeys(values) if (text := value.strip()).lower() not in GAPS]


def _describe(form: NumberFormat, usual: NumberFormat, name: str, example: str) -> str:
    keys = []
    if form.decimal != usual.decimal:
        keys.append(f'data.decimal = "{form.decimal}"')
    if form.thousands != usual.thousands:
        keys.append(f'data.thousands = "{form.thousands}"')
    return f"numbers are read with {' and '.join(keys)}, as {example!r} in column {name!r} shows"


def _check_ambiguity(possible: Sequence[NumberFormat], value: str, name: str, file: str) -> None:
    """Raise DataError if `value` is one number in one format and another one in another format."""
    meanings = {form.parse([value])[0]: form for form in possible}
    if len(meanings) > 1:
        (one, first), (other, second) = list(meanings.items())[:2]
        raise DataError(
            f"data.decimal: {value!r} in column {name!r} of {file} may be {one:g} or {other:g}: set "
            f"{_key(first)} or {_key(second)}"
        )


def _key(form: NumberFormat) -> str:
    return (
        f'data.thousands = "{form.thousands}"' if form.decimal == "." else f'data.decimal = "{form.decimal}"'
    )
