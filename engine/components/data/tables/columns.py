"""Finds out what each column of a table is: numbers, categories, dates, or nothing that can be used."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from torchconsole.engine.components.data.tables.dates import PARTS, looks_like_dates, split_dates
from torchconsole.engine.components.data.tables.number_format import CANDIDATES, GAPS, NumberFormat
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.reading import Table
from torchconsole.engine.errors import DataError

Floats = np.ndarray[Any, np.dtype[np.float64]]

MAX_CATEGORIES = 20
"""Up to this many different texts are categories; more only if each has ROWS_PER_CATEGORY rows on average."""

ROWS_PER_CATEGORY = 10

MOST_CATEGORIES = 1_000
"""More different texts than this are categories only if data.categorical says so."""

MAX_ODD = 10
"""Up to this many different texts among numbers may be mistakes or gaps; with more it is a column of text."""

MIN_ROWS = 10
"""Fewer rows do not show whether a column counts or names them."""

MAX_SHOWN = 5
"""Number of categories or odd values that are listed."""

IDENTIFIERS = {"id", "idx", "index", "key", "uuid", "guid", "no", "nr", "num", "number", "row", "serial", "#"}
"""Last words in the names of columns that count the rows."""

FORMATS = (NumberFormat(), *CANDIDATES)

Kind = Literal["numeric", "categorical", "date", "dropped", "refused"]


@dataclass
class Column:
    """A feature column. Refused columns cannot be used, and the user has to say what to do with them."""

    name: str
    kind: Kind
    detail: str = ""
    """What is in it, or why it is dropped or refused."""
    values: Floats | None = None
    """Numbers (N,), or the parts of dates (N, 5); nan where there is no value."""
    codes: np.ndarray[Any, Any] | None = None
    """Index of each row's category (N,), -1 where there is none."""
    labels: Sequence[str] = ()
    """The categories as they are written, in order."""
    note: str = ""
    """What the user should know about it, if anything."""
    remedy: tuple[str, list[str]] | None = None
    """A key of the data section, and what to add to it, that allows a refused column."""

    @property
    def gaps(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Rows (N,) without a value."""
        if self.codes is not None:
            return np.asarray(self.codes < 0)
        assert self.values is not None
        return np.isnan(self.values if self.values.ndim == 1 else self.values[:, 0])


def read_numbers(
    table: Table, name: str, na_values: Sequence[str | float]
) -> tuple[Floats | None, list[str]]:
    """Return a column as numbers (N,) float64, nan for gaps, and the texts that are neither.

    None if it has no numbers at all, or dates. If there are both numbers and other texts, the caller decides.
    """
    column = table.frame[name]
    kind = column.dtype.kind
    if kind in "biuf":
        values = column.to_numpy(dtype=np.float64)
        extra = [number for gap in na_values if (number := _number(gap)) is not None]
        return np.where(np.isin(values, extra), np.nan, values) if extra else values, []
    if kind == "M":
        return None, []
    codes, texts = _factorize(column, name, table)
    gap = np.array([is_gap(text, na_values) or text.lower() in GAPS for text in texts], dtype=bool)
    lowered = [text.lower() for text in texts]
    booleans = {text for text, none in zip(lowered, gap, strict=True) if not none}
    if booleans and booleans <= {"true", "false"}:
        numbers = np.array(
            [np.nan if none else float(text == "true") for text, none in zip(lowered, gap, strict=True)]
        )
    else:
        numbers = table.number_format.parse(texts)
        numbers[gap] = np.nan
    odd = [
        text for text, number, none in zip(texts, numbers, gap, strict=True) if np.isnan(number) and not none
    ]
    if np.isnan(numbers).all() and (texts := [text for text in texts if not is_gap(text, na_values)]):
        return None, texts
    return np.append(numbers, np.nan)[codes], odd


def read_texts(
    table: Table, name: str, na_values: Sequence[str | float]
) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Return the index of each row's text (N,), -1 where there is none, and the different texts in order.

    Only empty fields and `na_values` are gaps. Texts that are all numbers are in the order of the numbers.
    """
    codes, texts = _factorize(table.frame[name], name, table)
    kept = [position for position, text in enumerate(texts) if not is_gap(text, na_values)]
    numbers = table.number_format.parse([texts[position] for position in kept])
    if np.isnan(numbers).any():
        order = sorted(kept, key=lambda position: texts[position])
    else:
        order = [kept[position] for position in np.argsort(numbers, kind="stable")]
    renumber = np.full(len(texts) + 1, -1)
    renumber[order] = np.arange(len(order))
    return renumber[codes], [texts[position] for position in order]


def is_gap(text: str, na_values: Sequence[str | float]) -> bool:
    """Whether a text is empty or one of `na_values`, which may be numbers."""
    if text == "":
        return True
    return any(text == gap if isinstance(gap, str) else _number(text) == gap for gap in na_values)


def inspect_column(table: Table, name: str, options: TableOptions) -> Column:
    """Find out what a feature column is. Raises DataError if the options do not fit it."""
    column = table.frame[name]
    if name in options.dates or column.dtype.kind == "M":
        return _dates(table, name, options)
    if name in options.categorical:
        codes, labels = read_texts(table, name, options.na_values)
        return Column(name, "categorical", codes=codes, labels=labels)
    if name in table.unusable:
        return Column(name, "refused", f"has values of type {table.unusable[name]}")
    if name in table.categories:
        codes, labels = read_texts(table, name, options.na_values)
        return _texts(table, name, codes, labels, [])
    values, odd = read_numbers(table, name, options.na_values)
    if values is not None and not odd:
        return _numbers(table, name, values, options)
    codes, labels = read_texts(table, name, options.na_values)
    return _texts(table, name, codes, labels, odd if values is not None else [])


def _dates(table: Table, name: str, options: TableOptions) -> Column:
    column = table.frame[name]
    if column.dtype.kind not in "Mbiuf":
        gaps = {
            text
            for text in column.dropna().unique()
            if is_gap(text, options.na_values) or text.lower() in GAPS
        }
        column = column.where(~column.isin(gaps), "").fillna("")
    values, written = split_dates(column, options.date_format, name, table.path.name)
    if np.isnan(values).all():
        return Column(name, "dropped", "has no values")
    detail = ", ".join(PARTS) + (f"; written as {written}" if written else "")
    return Column(name, "date", detail, values=values)


def _numbers(table: Table, name: str, values: Floats, options: TableOptions) -> Column:
    """Return a column of numbers; the columns that data.features names are used whatever is in them."""
    named = options.features is not None
    known = values[~np.isnan(values)]
    if not len(known):
        return Column(name, "dropped", "has no values", values=values)
    if (known == known[0]).all() and len(known) > 1 and not named:
        return Column(name, "dropped", f"is always {_show(known[0])}", values=values)
    found = Column(name, "numeric", f"{_show(known.min())} to {_show(known.max())}", values=values)
    if reason := _identifies_rows(table, name, values):
        first, last = _show(known.min()), _show(known.max())
        if not named and reason == "identifier":
            return Column(name, "dropped", f"identifies the row ({first} to {last})", values=values)
        found.note = (
            f"column {name!r} counts the rows ({first} to {last}); {drop_key(name, options)} leaves it out"
        )
    elif name in table.unnamed:
        found.note = f"column {name!r} has no name in the header; {drop_key(name, options)} leaves it out"
    elif name in table.padded:
        found.note = (
            f"column {name!r} has leading zeros ({table.padded[name]!r}); if its values are codes, set "
            f'data.categorical = ["{name}"]'
        )
    return found


def _texts(table: Table, name: str, codes: Any, labels: list[str], odd: list[str]) -> Column:
    """Return a column of text; `odd` are its values that are no numbers if others are."""
    found = Column(name, "categorical", codes=codes, labels=labels)
    used = int((codes >= 0).sum())
    if len(labels) < 2 and used in (0, len(codes)):
        found.kind = "dropped"
        found.detail = f"is always {labels[0]!r}" if labels else "has no values"
        return found
    example = f"such as {labels[0]!r}"
    few = len(labels) <= MAX_CATEGORIES and not (len(labels) == used >= MIN_ROWS)
    others = set(odd)
    odd_rows = int(np.isin(codes, [code for code, label in enumerate(labels) if label in others]).sum())
    known = [label for label in labels if label.lower() not in GAPS]
    in_other_forms = sum(any(form.fits([text]) for form in FORMATS) for text in odd)
    many_odd = odd and not few
    if many_odd and (len(odd) <= MAX_ODD or odd_rows < used / 2 or in_other_forms > len(odd) / 2):
        first = table.locate(int(np.flatnonzero(codes == labels.index(odd[0]))[0]))
        found.kind, found.detail = "refused", f"has numbers, but also {_list(odd)} (the first one in {first})"
        if in_other_forms:
            found.detail += ", which is a number in another form: write all of them alike"
        else:
            found.remedy = ("na_values", odd) if len(odd) <= MAX_ODD else ("categorical", [name])
    elif looks_like_dates(known):
        found.kind, found.detail = "refused", f"has dates, {example}"
        found.remedy = ("dates", [name])
    elif _have_units(known):
        found.kind, found.detail = (
            "refused",
            f"has numbers with a unit, {example}, which the file must not have",
        )
        found.remedy = ("categorical", [name]) if few else None
    elif few:
        if odd:
            found.note = (
                f"column {name!r} has numbers and other values ({_list(odd)}), which are categories here; if "
                f"they mean that there is no value, set data.na_values = {toml_list(odd[:MAX_SHOWN])}"
            )
    elif len(labels) == used and used >= len(codes) / 2:
        found.kind, found.detail = "dropped", f"has another text in each row ({example})"
    elif len(labels) > min(MOST_CATEGORIES, max(MAX_CATEGORIES, len(codes) / ROWS_PER_CATEGORY)):
        found.kind = "refused"
        found.detail = (
            f"has {len(labels):,} different texts in {len(codes):,} rows ({example}), too many for categories"
        )
        found.remedy = ("categorical", [name])
    return found


def _have_units(labels: Sequence[str]) -> bool:
    """Whether all texts are numbers with the same currency before them, or the same short unit after them."""
    found = [
        re.fullmatch(r"([$€£¥₹]?)\s?[+-]?[0-9][0-9.,' ]*?\s?(%|[^\W\d_]{0,3})", label) for label in labels
    ]
    units = {match.groups() if match else None for match in found}
    return len(units) == 1 and units not in ({None}, {("", "")})


def _identifies_rows(table: Table, name: str, values: Floats) -> Literal["", "identifier", "counts"]:
    """Say whether each row has a number of its own, without gaps between the numbers unless it is an id."""
    if len(values) < MIN_ROWS or not np.isfinite(values).all() or (values % 1 != 0).any():
        return ""
    if len(np.unique(values)) < len(values):
        return ""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|#", name)
    last = words[-1].lower() if words else ""
    if values.max() - values.min() == len(values) - 1:
        called_so = name in table.unnamed or last in IDENTIFIERS or name.lower().endswith("id")
        return "identifier" if called_so else "counts"
    return "identifier" if last in ("id", "uuid", "guid") and len(values) > MAX_CATEGORIES else ""


def _factorize(column: Any, name: str, table: Table) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Return the index of each row's text, -1 for a missing one, and the different texts."""
    import pandas

    if name in table.unusable:
        raise DataError(
            f"data: column {name!r} of {table.path.name} has values of type {table.unusable[name]}; numbers, "
            "texts or dates are needed"
        )
    codes, values = pandas.factorize(column)
    return codes, [_label(value) for value in values]


def _label(value: Any) -> str:
    whole = isinstance(value, float | np.floating) and value % 1 == 0
    return f"{value:.0f}" if whole else str(value)


def _number(value: str | float) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _show(value: Any) -> str:
    return f"{value:.0f}" if abs(value) < 1e15 and value % 1 == 0 else f"{value:.6g}"


def _list(values: Sequence[str]) -> str:
    more = f" and {len(values) - MAX_SHOWN:,} more" if len(values) > MAX_SHOWN else ""
    return ", ".join(map(repr, values[:MAX_SHOWN])) + more


def drop_key(name: str, options: TableOptions) -> str:
    """Return the key that leaves out a column besides those that are left out already."""
    return f"data.drop = {toml_list([*options.drop, name])}"


def toml_list(values: Sequence[str | float]) -> str:
    """Write texts and numbers as a TOML list."""
    return json.dumps(list(values), ensure_ascii=False)
