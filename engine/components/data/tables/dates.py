"""Turns a column of dates into numbers: year, month, day, weekday and the seconds of the day."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np

from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.remedies import leave_out, mark_as_gaps
from torchconsole.engine.components.data.tables.table import Table
from torchconsole.engine.errors import DataError

PARTS = ("year", "month", "day", "weekday", "seconds")
"""The numbers that a date becomes; weekday is 0 on Mondays, and seconds count from midnight."""

DAYS = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y"),
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
FORMATS = ("ISO8601", *(f"{day}{time}" for day in DAYS for time in TIMES))
"""Ways to write dates that are detected, as strptime has them; pandas reads all forms of ISO 8601 as one."""

NUMERIC = ("%Y%m%d", "%Y%m", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%d%m%Y", "%m%d%Y", "%y%m%d", "%Y")
"""Ways to write dates with digits alone; only the first is detected."""

NUMBER = r"-?\d+(\.\d+)?"
"""A number as Unix times are written."""

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""Unit of Unix times, which `data.date_format` may be -> so many per second."""

EARLIEST, LATEST = 1e8, 4.2e9
"""Unix times in seconds that are detected: from 1973 to 2103. Other numbers are rather no Unix times."""

TIME_WORDS = {
    *("date", "day", "month", "time", "timestamp", "datetime", "ts", "epoch", "at", "on", "when"),
    *("datum", "monat", "zeit"),
}
"""Words in the names of columns of dates."""

MAX_SHOWN = 5
"""Number of texts that are listed."""

MAX_MISFITS = 10
"""Up to this many different texts may mean that there is no date; with more, dates are written otherwise."""

SAMPLE = 50
"""Values to try in order to find out whether a column of text has dates."""


def split_dates(
    column: Any, name: str, table: Table, options: TableOptions
) -> tuple[np.ndarray[Any, Any], str]:
    """Return the parts of each date (N, 5) float64, nan for a missing one, and how the dates are written.

    `column` has "" or nan where there is no date. Raises DataError for what is no date, or may be two.
    """
    times, written = _Dates(name, table.path.name, options).parse(column)
    if times.dt.tz is not None:
        written += ", in UTC" if str(times.dt.tz) == "UTC" else ""
    seconds = times.dt.hour * 3600 + times.dt.minute * 60 + times.dt.second + times.dt.microsecond / 1e6
    parts = [times.dt.year, times.dt.month, times.dt.day, times.dt.day_of_week, seconds]
    return np.stack([part.to_numpy(dtype=np.float64, na_value=np.nan) for part in parts], axis=1), written


def date_range(parts: np.ndarray[Any, Any]) -> str:
    """Write the first and the last of dates (N, 5), of which some may be nan: `2020-01-05 to 2021-03-04`."""
    days = parts[~np.isnan(parts[:, 0]), :3]
    order = np.lexsort(days.T[::-1])
    first, last = (days[row].astype(int) for row in (order[0], order[-1]))
    return " to ".join(f"{year:04}-{month:02}-{day:02}" for year, month, day in (first, last))


def looks_like_dates(values: Sequence[str]) -> bool:
    """Whether these texts are dates in one of the usual forms, but for a few without a digit."""
    import pandas

    dates = [value for value in values if any(map(str.isdigit, value))]
    some = dates[:SAMPLE]
    if len(values) - len(dates) > min(MAX_MISFITS, len(dates)):
        return False
    if not some or not all(re.search(r"\d\D+\d", value) for value in some):
        return False
    return any(_fits(pandas.Series(some), form) for form in FORMATS)


def looks_like_numeric_dates(name: str, known: np.ndarray[Any, Any]) -> bool:
    """Whether all numbers are dates such as 20210304, or Unix times in a column that is called so."""
    import pandas

    if not np.isfinite(known).all() or (known % 1 != 0).any():
        return False
    if ((known >= 18000101) & (known < 22000101)).all():
        return _fits(pandas.Series(np.unique(known)).astype("int64").astype(str), "%Y%m%d")
    words = {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
    months = (known >= 180001) & (known < 220001) & (known % 100 >= 1) & (known % 100 <= 12)
    return bool(TIME_WORDS & words) and bool(months.all() or _find_unit(known) is not None)


@dataclass(frozen=True)
class _Dates:
    """Reads the dates of one column."""

    name: str
    file: str
    options: TableOptions

    def parse(self, column: Any) -> tuple[Any, str]:
        """Return the dates, and how they are written."""
        import pandas

        if pandas.api.types.is_datetime64_any_dtype(column.dtype):
            return column, ""
        if pandas.api.types.is_numeric_dtype(column.dtype):
            column = column.map(_write_number)
        text = column.where(column != "")
        known = text.dropna()
        if self.options.date_format is not None:
            return self._parse_as(text, known, self.options.date_format)
        if known.str.fullmatch(NUMBER).all():
            return self._parse_numbers(text, known)
        fitting = [candidate for candidate in FORMATS if _fits(known, candidate)]
        if not fitting:
            self._raise_unknown(known)
        readings = [(candidate, _to_datetime(text, candidate)) for candidate in fitting]
        chosen, times = readings[0]
        for other, others in readings[1:]:
            differs = (times != others) & times.notna()
            if differs.any():
                raise DataError(
                    f"data.dates: {text[differs].iloc[0]!r} in column {self.name!r} of {self.file} may be "
                    f'two dates; set data.date_format = "{chosen}" or "{other}"'
                )
        return times, chosen

    def _parse_as(self, text: Any, known: Any, form: str) -> tuple[Any, str]:
        """Read dates in the form that `data.date_format` states, which may be a unit of Unix times."""
        import pandas

        wrong = _no_numbers(known) if form in UNITS else _misfits(known, form)
        if wrong:
            self._raise_misfits(wrong, known.nunique(), f"data.date_format: {form!r} does not fit ", "")
        if form in UNITS:
            return _from_unix(text, form)
        return pandas.to_datetime(text, format=form, utc="%z" in form or None), form

    def _parse_numbers(self, text: Any, known: Any) -> tuple[Any, str]:
        """Read numbers as yyyymmdd if all of them are such dates, else as Unix times if these are likely."""
        import pandas

        if known.str.fullmatch(r"(1[89]|2[01])\d{6}").all() and _fits(known, "%Y%m%d"):
            return pandas.to_datetime(text, format="%Y%m%d"), "%Y%m%d"
        numbers = known.astype("float64").to_numpy()
        forms = [
            form for form in NUMERIC[1:] if known.str.fullmatch(_digits(form)).all() and _fits(known, form)
        ]
        unit = _find_unit(numbers)
        if unit is not None and not forms:
            return _from_unix(text, unit)
        example = known.iloc[0]
        if unit is None and not forms and (unit := _find_unit(numbers[numbers != 0])) is not None:
            example = known[numbers == 0].iloc[0]
        settled = " or ".join(f'"{form}"' for form in [*([unit] if unit else []), *forms])
        reading = f"set data.date_format = {settled}" if settled else ""
        removed = f"remove {self.name!r} from data.dates to use the numbers as they are"
        raise DataError(
            f"data.dates: column {self.name!r} of {self.file} has numbers such as {example!r}, which are no "
            f"dates in one of the usual forms; {reading}{', or ' * bool(reading)}{removed}"
        )

    def _raise_unknown(self, known: Any) -> NoReturn:
        """Raise DataError for dates that are written in different forms, or in one that is not detected."""
        different = known.drop_duplicates()
        some = different[:SAMPLE]
        misfits = {form: partial(_misfits, form=form) for form in FORMATS} | {"": _no_numbers}
        form = min(misfits, key=lambda form: len(misfits[form](some)))
        wrong = misfits[form](different)
        if len(wrong) == len(different):
            raise DataError(
                f"data.dates: {known.iloc[0]!r} in column {self.name!r} of {self.file} is no date in one of "
                f'the usual forms; set data.date_format, such as "%d.%m.%Y %H:%M", or {self._removed}'
            )
        like = next(text for text in different if text not in wrong)
        self._raise_misfits(wrong, len(different), "data.dates: ", f" is not written like {like!r}")

    def _raise_misfits(self, wrong: Sequence[str], different: int, before: str, after: str) -> NoReturn:
        """Raise DataError about texts that are no dates, all of them with the keys that settle it."""
        more = f" and {len(wrong) - MAX_SHOWN:,} more" if len(wrong) > MAX_SHOWN else ""
        shown = ", ".join(map(repr, wrong[:MAX_SHOWN])) + more
        if len(wrong) <= MAX_MISFITS and len(wrong) < different:
            gaps = mark_as_gaps(wrong, self.options)
            advice = f"if there is no date where it says so, {gaps}; else write all dates alike"
        else:
            advice = "write all dates alike, set data.date_format to their form"
        raise DataError(
            f"{before}{shown} in column {self.name!r} of {self.file}{after}; {advice}, or {self._removed}"
        )

    @property
    def _removed(self) -> str:
        return leave_out([self.name], self.options)


def _no_numbers(known: Any) -> list[str]:
    """Return the different texts that are no numbers."""
    texts = known.drop_duplicates()
    return [str(text) for text in texts[~texts.str.fullmatch(NUMBER)]]


def _misfits(known: Any, form: str) -> list[str]:
    """Return the different texts that are not dates in this form."""
    import pandas

    texts = known.drop_duplicates()
    if _fits(texts, form):
        return []
    try:
        times = pandas.to_datetime(texts, format=form, errors="coerce", utc=True)
    except (ValueError, TypeError, OverflowError):
        return [str(text) for text in texts]
    return [str(text) for text in texts[times.isna()]]


def _find_unit(numbers: np.ndarray[Any, Any]) -> str | None:
    """Return the unit in which all numbers are likely Unix times."""
    for unit, per_second in UNITS.items():
        seconds = np.abs(numbers) / per_second
        if len(seconds) and (seconds >= EARLIEST).all() and (seconds < LATEST).all():
            return unit
    return None


def _from_unix(text: Any, unit: str) -> tuple[Any, str]:
    import pandas

    numbers = text.astype("float64")
    return pandas.to_datetime((numbers / UNITS[unit]).round(6), unit="s"), f"Unix time in {unit}"


def _digits(form: str) -> str:
    """Return the pattern of the digits of a form such as %Y%m%d."""
    year = r"(?:1[89]|2[01])\d\d"
    return re.sub("%[a-zA-Z]", lambda m: year if m[0] == "%Y" else r"\d\d", form)


def _write_number(value: float) -> str:
    if np.isnan(value):
        return ""
    return f"{value:.0f}" if value % 1 == 0 else repr(value)


def _fits(known: Any, form: str) -> bool:
    try:
        found = _to_datetime(known, form)
    except (ValueError, TypeError, OverflowError):
        return False
    return bool(found.notna().all())


def _to_datetime(text: Any, form: str) -> Any:
    """Read dates in this form; those with an offset from UTC are converted to UTC."""
    import pandas

    known = text.dropna()
    offsets = form == "ISO8601" and known.str.contains(r"\d\d:\d\d.*(?:Z|[+-]\d\d:?\d\d)$").any()
    return pandas.to_datetime(text, format=form, utc=True if offsets else None)
