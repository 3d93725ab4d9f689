"""A table as it is written: what its readers return, and which of its columns have text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from torchconsole.engine.components.data.tables.number_format import GAPS, NumberFormat
from torchconsole.engine.components.data.tables.options import TableOptions, composed

EXACT = 2**53
"""Whole numbers below it are exact in float64."""

EXACT_DIGITS = 15
"""Numbers with up to this many digits are below EXACT."""


@dataclass(frozen=True)
class Table:
    """A table as it is written. Its frame has columns of numbers, booleans, dates and text.

    A column of text keeps every value, such as "None" and "?"; only an empty field is "" in a CSV file, and
    missing in other files.
    """

    path: Path
    frame: Any
    """A pandas.DataFrame with rows from 0 and unique column names."""
    locate: Callable[[int], str]
    """Returns where row `n` is in the file, such as "line 5"."""
    lines: Callable[[], Iterable[int]] = tuple
    """Returns the line in which each row starts; nothing for a file that has no lines."""
    number_format: NumberFormat = field(default_factory=NumberFormat)
    """How numbers in columns of text are written."""
    unnamed: Collection[str] = ()
    """Columns without a name in the file."""
    renamed: dict[str, str] = field(default_factory=dict)
    """New name -> name in the file, of columns whose name is not unique."""
    padded: dict[str, str] = field(default_factory=dict)
    """Column of numbers -> a value with leading zeros in it."""
    categories: Collection[str] = ()
    """Columns of numbers that the file declares as categories."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Columns of other values, such as lists -> their type."""
    notes: list[str] = field(default_factory=list)
    from_header: bool = True
    """Whether the names of the columns are in the file."""


def used_as_numbers(frame: Any, options: TableOptions) -> set[str]:
    """Return the columns whose values are used, but for those that the options declare as something else."""
    features = frame.columns if options.features is None else options.features
    return {*features, *options.targets} - {*options.drop, *options.categorical, *options.dates}


def numeric_texts(frame: Any, options: TableOptions, others: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the different values of each column of text that is used and may have numbers, without gaps.

    `others` are columns of text that have no numbers.
    """
    used = used_as_numbers(frame, options).difference(others)
    gaps = {gap for gap in options.na_values if isinstance(gap, str)}
    found = {}
    for name in text_columns(frame):
        if name in used:
            values = [text for text in frame[name].dropna().unique().tolist() if text not in gaps]
            found[name] = [text for text in values if text.lower() not in GAPS]
    return found


def find_padded(frame: Any, samples: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the columns with whole numbers of which some are written with leading zeros.

    Of columns that pandas took for numbers, only the sample is known as it is written.
    """
    texts = set(text_columns(frame))
    found = {}
    for name, sample in samples.items():
        if name in texts or (is_plain(frame[name].dtype) and frame[name].dtype.kind in "iu"):
            values = frame[name].dropna().unique() if name in texts else map(str.strip, sample)
            padded = next((value for value in values if re.fullmatch("0[0-9]+", value)), None)
            if padded is not None:
                found[name] = padded
    return found


def composed_texts(column: Any) -> Any:
    """Return a column of text in which letters with accents are written in one way; see `composed`."""
    changed = {
        text: new
        for text in column.dropna().unique().tolist()
        if not text.isascii() and (new := composed(text)) != text
    }
    return column.replace(changed) if changed else column


def text_columns(frame: Any) -> list[str]:
    """Return the names of the columns that are neither numbers, booleans nor dates."""
    import pandas

    types = pandas.api.types
    return [
        name
        for name in frame.columns
        if not types.is_numeric_dtype(frame[name].dtype)
        and not types.is_datetime64_any_dtype(frame[name].dtype)
    ]


def is_plain(dtype: Any) -> bool:
    """Whether this is a type of NumPy's, which has no missing values except nan."""
    return isinstance(dtype, np.dtype)


def same_in_float64(column: Any, form: NumberFormat) -> tuple[str, str] | None:
    """Return two different whole numbers of a column that are the same in float64, None if there are none."""
    if column.dtype.kind in "iu":
        if not len(column) or (int(column.max()) < EXACT and int(column.min()) > -EXACT):
            return None
        wholes = [int(value) for value in column.unique()]
    elif column.dtype.kind in "bfM":
        return None
    else:
        texts = [text for text in column.dropna().unique().tolist() if len(text) > EXACT_DIGITS]
        wholes = [whole for text in texts if (whole := form.whole(text)) is not None]
    found: dict[float, int] = {}
    for whole in sorted(wholes):
        if (before := found.setdefault(float(whole), whole)) != whole:
            return str(before), str(whole)
    return None
