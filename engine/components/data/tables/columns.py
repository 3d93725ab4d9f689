"""Finds out what each column of a table is: numbers, categories, dates, or nothing that can be used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from torchconsole.engine.components.data.tables.dates import (
    PARTS,
    date_range,
    looks_like_dates,
    looks_like_numeric_dates,
    split_dates,
)
from torchconsole.engine.components.data.tables.number_format import FORMATS, GAPS
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.remedies import leave_out, mark_as_gaps, toml_list
from torchconsole.engine.components.data.tables.table import Table, same_in_float64
from torchconsole.engine.components.data.tables.units import have_units
from torchconsole.engine.components.data.tables.values import (
    Floats,
    find_gaps,
    read_numbers,
    read_texts,
)
from torchconsole.engine.text import printable

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

MAX_NAMED = 8
"""Number of categories that are listed in the description of a column."""

FLOAT32_MAX = float(np.finfo(np.float32).max)

IDENTIFIERS = {"id", "idx", "index", "key", "uuid", "guid", "no", "nr", "num", "number", "row", "serial", "#"}
"""Last words in the names of columns that count the rows."""

NUMBER_LIKE = re.compile(r"\(?[-+$€£¥]?\s?[0-9][0-9.,' ]*[-+%]?\)?")
"""Texts such as 1,00,000, 5- and (5), which are numbers to people."""

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
    remedy: dict[str, list[str]] = field(default_factory=dict)
    """Keys of the data section, and what to add to them, that allow a refused column."""

    @property
    def gaps(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Rows (N,) without a value."""
        if self.codes is not None:
            return np.asarray(self.codes < 0)
        assert self.values is not None
        return np.isnan(self.values if self.values.ndim == 1 else self.values[:, 0])


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
        return _texts(table, name, codes, labels, [], options)
    values, odd = read_numbers(table, name, options.na_values)
    if values is not None and not odd:
        return _numbers(table, name, values, options)
    codes, labels = read_texts(table, name, options.na_values)
    return _texts(table, name, codes, labels, odd if values is not None else [], options)


def _dates(table: Table, name: str, options: TableOptions) -> Column:
    column = table.frame[name]
    if column.dtype.kind not in "Mbiuf":
        texts = [str(text) for text in column.dropna().unique()]
        none = find_gaps(texts, options.na_values, table.number_format)
        gaps = {text for text, gap in zip(texts, none, strict=True) if gap or text.lower() in GAPS}
        column = column.where(~column.isin(gaps), "").fillna("")
    elif column.dtype.kind != "M":
        column = column.where(~column.isin([table.number_format.value(gap) for gap in options.na_values]))
    values, written = split_dates(column, name, table, options)
    if np.isnan(values).all():
        return Column(name, "dropped", "has no values")
    detail = ", ".join(PARTS) + (f"; written as {written}" if written else "") + f"; {date_range(values)}"
    found = Column(name, "date", detail, values=values)
    if "%y" in written:
        found.note = (
            f"column {name!r} has years of two digits, which are read as 1969 to 2068 "
            f"({date_range(values)}); write all four if that is wrong"
        )
    return found


def _numbers(table: Table, name: str, values: Floats, options: TableOptions) -> Column:
    """Return a column of numbers; the columns that data.features names are used whatever is in them."""
    named = options.features is not None
    known = values[~np.isnan(values)]
    if not len(known):
        return Column(name, "dropped", "has no values", values=values)
    first, last = _show(known.min()), _show(known.max())
    alike = same_in_float64(table.frame[name], table.number_format)
    count = table.frame[name].nunique() if alike else len(np.unique(known))
    reason = _identifies_rows(table, name, values, count)
    if not named and reason == "identifier":
        return Column(name, "dropped", f"identifies the row ({first} to {last})", values=values)
    if alike:
        detail = f"has numbers that 64-bit floats cannot tell apart ({alike[0]}, {alike[1]})"
        return Column(name, "refused", detail, values=values, remedy={"categorical": [name]})
    if count == 1 and len(known) > 1 and not named:
        return Column(name, "dropped", f"is always {first}", values=values)
    found = Column(name, "numeric", f"{first} to {last}", values=values)
    left_out = f"to leave it out, {leave_out([name], options)}"
    if reason:
        found.note = f"column {name!r} counts the rows ({first} to {last}); {left_out}"
    elif name in table.unnamed:
        found.note = f"column {name!r} has no name in the header; {left_out}"
    elif name in table.padded:
        found.note = (
            f"column {name!r} has leading zeros ({table.padded[name]!r}); if its values are codes, set "
            f"data.categorical = {toml_list([*options.categorical, name])}"
        )
    elif looks_like_numeric_dates(name, known):
        found.note = (
            f"column {name!r} has numbers that may be dates ({first} to {last}); if they are, set "
            f"data.dates = {toml_list([*options.dates, name])}"
        )
    return found


def _texts(
    table: Table, name: str, codes: Any, labels: list[str], odd: list[str], options: TableOptions
) -> Column:
    """Return a column of text; `odd` are its values that are no numbers if others are."""
    found = Column(name, "categorical", codes=codes, labels=labels)
    used = int((codes >= 0).sum())
    if len(labels) < 2 and used in (0, len(codes)):
        found.kind = "dropped"
        found.detail = f"is always {labels[0]!r}" if labels else "has no values"
        return found
    example = f"such as {labels[0]!r}"
    few = len(labels) <= MAX_CATEGORIES and not (len(labels) == used >= MIN_ROWS)
    known = [label for label in labels if label.lower() not in GAPS]
    if odd and (mixed := _mixed_numbers(table, codes, labels, odd, few)):
        found.kind, (found.detail, gaps) = "refused", mixed
        found.remedy = {"na_values": gaps} if gaps else {"categorical": [name]}
    elif looks_like_dates(known):
        found.kind, found.detail = "refused", f"has dates, {example}"
        words = [label for label in known if not any(map(str.isdigit, label))]
        found.remedy = {"dates": [name], "na_values": words} if words else {"dates": [name]}
    elif have_units(known):
        found.kind = "refused"
        found.detail = f"has numbers with a unit, {example}, which the file must not have"
        found.remedy = {"categorical": [name]} if few else {}
    elif few:
        if odd:
            found.note = (
                f"column {name!r} has numbers and other values ({list_texts(odd)}), which are categories "
                f"here; if they mean that there is no value, {mark_as_gaps(odd, options)}"
            )
    elif len(labels) == used and all(map(NUMBER_LIKE.fullmatch, known)):
        found.kind, found.detail = "refused", f"has texts that are no numbers in a usual form, {example}"
        found.remedy = {"categorical": [name]}
    elif len(labels) == used and used >= len(codes) / 2:
        found.kind, found.detail = "dropped", f"has another text in each row ({example})"
    elif len(labels) > min(MOST_CATEGORIES, max(MAX_CATEGORIES, len(codes) / ROWS_PER_CATEGORY)):
        found.kind = "refused"
        found.detail = (
            f"has {len(labels):,} different texts in {len(codes):,} rows ({example}), too many for categories"
        )
        found.remedy = {"categorical": [name]}
    return found


def _mixed_numbers(
    table: Table, codes: Any, labels: list[str], odd: list[str], few: bool
) -> tuple[str, list[str]] | None:
    """Return why a column with numbers and other texts is refused, and its values that may be gaps."""
    others = set(odd)
    odd_rows = int(np.isin(codes, [code for code, label in enumerate(labels) if label in others]).sum())
    with_digits = [text for text in odd if any(map(str.isdigit, text))]
    in_other_forms = sum(any(form.fits([text]) for form in FORMATS) for text in with_digits)
    first = table.locate(int(np.flatnonzero(codes == labels.index(odd[0]))[0]))
    detail = f"has numbers, but also {list_texts(odd)} (the first one in {first})"
    if in_other_forms > len(with_digits) / 2:
        return f"{detail}, which is a number in another form (write all of them alike)", []
    if few or not (len(odd) <= MAX_ODD or odd_rows < (codes >= 0).sum() / 2):
        return None
    return detail, odd if len(odd) <= MAX_ODD else []


def _identifies_rows(
    table: Table, name: str, values: Floats, count: int
) -> Literal["", "identifier", "counts"]:
    """Say whether each row has a number of its own, without gaps between the numbers unless it is an id.

    `count` is how many different numbers there are. Some rows may have none, as empty rows at the end.
    """
    known = values[~np.isnan(values)]
    if len(known) < max(MIN_ROWS, len(values) / 2) or not np.isfinite(known).all() or (known % 1 != 0).any():
        return ""
    if count < len(known):
        return ""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|#", name)
    last = words[-1].lower() if words else ""
    if known.max() - known.min() < len(values):
        called_so = name in table.unnamed or last in IDENTIFIERS or name.lower().endswith("id")
        return "identifier" if called_so else "counts"
    return "identifier" if last in ("id", "uuid", "guid") and len(known) > MAX_CATEGORIES else ""


def _show(value: Any) -> str:
    return f"{value:.0f}" if abs(value) < 1e15 and value % 1 == 0 else f"{value:.6g}"


def list_texts(values: Sequence[str]) -> str:
    more = f" and {len(values) - MAX_SHOWN:,} more" if len(values) > MAX_SHOWN else ""
    return ", ".join(map(repr, values[:MAX_SHOWN])) + more


def list_categories(labels: Sequence[str], what: str) -> str:
    """Write `3 values: a, b, c`."""
    plural = f"{what}{'' if len(labels) == 1 else 'es' if what == 'class' else 's'}"
    more = ", ..." if len(labels) > MAX_NAMED else ""
    return f"{len(labels):,} {plural}: {', '.join(map(printable, labels[:MAX_NAMED]))}{more}"
