"""Reads the values of a column as numbers or as texts, without those that mean that there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchconsole.engine.components.data.tables.number_format import GAPS, NumberFormat
from torchconsole.engine.components.data.tables.table import Table
from torchconsole.engine.errors import DataError

Floats = np.ndarray[Any, np.dtype[np.float64]]

NaValues = Sequence[str | float]


def read_numbers(table: Table, name: str, na_values: NaValues) -> tuple[Floats | None, list[str]]:
    """Return a column as numbers (N,) float64, nan for gaps, and the texts that are neither.

    None if it has no numbers at all, or dates. If there are both numbers and other texts, the caller decides.
    """
    column, form = table.frame[name], table.number_format
    kind = column.dtype.kind
    if kind in "biuf":
        values = column.to_numpy(dtype=np.float64)
        extra = [form.value(gap) for gap in na_values]
        return np.where(np.isin(values, extra), np.nan, values) if extra else values, []
    if kind == "M":
        return None, []
    _check_usable(name, table)
    codes, texts = factorize(column)
    lowered = [text.lower() for text in texts]
    numbers = form.parse(texts)
    none = find_gaps(texts, na_values, form)
    gap = none | np.array([text in GAPS for text in lowered], dtype=bool)
    gap |= np.isin(numbers, [form.value(given) for given in na_values])
    booleans = {text for text, missing in zip(lowered, gap, strict=True) if not missing}
    if booleans and booleans <= {"true", "false"}:
        numbers = np.array([float(text == "true") for text in lowered])
    numbers[gap] = np.nan
    odd = [text for text, bad in zip(texts, np.isnan(numbers) & ~gap, strict=True) if bad]
    if np.isnan(numbers).all() and not none.all():
        return None, [text for text, missing in zip(texts, none, strict=True) if not missing]
    return np.append(numbers, np.nan)[codes], odd


def read_texts(table: Table, name: str, na_values: NaValues) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Return the index of each row's text (N,), -1 where there is none, and the different texts in order.

    Only empty fields and `na_values` are gaps. Texts that are all numbers are in the order of the numbers.
    """
    _check_usable(name, table)
    codes, texts = factorize(table.frame[name])
    form = table.number_format
    kept = np.flatnonzero(~find_gaps(texts, na_values, form)).tolist()
    numbers = form.parse([texts[position] for position in kept])
    if np.isnan(numbers).any():
        order = sorted(kept, key=lambda position: texts[position])
    else:
        # The length orders whole numbers that are the same in float64.
        of = dict(zip(kept, numbers.tolist(), strict=True))
        order = sorted(kept, key=lambda position: (of[position], len(texts[position]), texts[position]))
    renumber = np.full(len(texts) + 1, -1)
    renumber[order] = np.arange(len(order))
    return renumber[codes], [texts[position] for position in order]


def find_gaps(
    texts: Sequence[str], na_values: NaValues, form: NumberFormat
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which texts (N,) are empty or one of `na_values`; numbers of these are compared as numbers."""
    words = {"", *(gap for gap in na_values if isinstance(gap, str))}
    found = np.array([text in words for text in texts], dtype=bool)
    if numbers := [float(gap) for gap in na_values if not isinstance(gap, str)]:
        found |= np.isin(form.parse(texts), numbers)
    return found


def factorize(column: Any) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Return the index of each row's text, -1 for a missing one, and the different texts."""
    import pandas

    codes, values = pandas.factorize(column)
    return codes, [_label(value) for value in values]


def _check_usable(name: str, table: Table) -> None:
    """Raise DataError for a column with values that are neither numbers, texts nor dates."""
    if name in table.unusable:
        raise DataError(
            f"data: column {name!r} of {table.path.name} has values of type {table.unusable[name]}; numbers, "
            "texts or dates are needed"
        )


def _label(value: Any) -> str:
    whole = isinstance(value, float | np.floating) and value % 1 == 0
    return f"{value:.0f}" if whole else str(value)
