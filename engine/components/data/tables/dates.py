"""Turns a column of dates into numbers: year, month, day, weekday and the seconds of the day."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import numpy as np

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

UNITS = ((1e11, "s", 1.0), (1e14, "ms", 1e3), (1e17, "us", 1e6), (np.inf, "ns", 1e9))
"""Unix times below the limit are in this unit, so many per second; 1e11 s is in the year 5138."""

SAMPLE = 50
"""Values to try in order to find out whether a column of text has dates."""


def split_dates(column: Any, form: str | None, name: str, file: str) -> tuple[np.ndarray[Any, Any], str]:
    """Return the parts of each date (N, 5) float64, nan for a missing one, and how the dates are written.

    Raises DataError for what is no date, or may be two.
    """
    times, written = _parse(column, form, name, file)
    if times.dt.tz is not None:
        written += ", in UTC" if str(times.dt.tz) == "UTC" else ""
    seconds = times.dt.hour * 3600 + times.dt.minute * 60 + times.dt.second + times.dt.microsecond / 1e6
    parts = [times.dt.year, times.dt.month, times.dt.day, times.dt.day_of_week, seconds]
    return np.stack([part.to_numpy(dtype=np.float64, na_value=np.nan) for part in parts], axis=1), written


def looks_like_dates(values: list[str]) -> bool:
    """Whether these texts are dates in one of the usual forms."""
    import pandas

    some = values[:SAMPLE]
    if not some or not all(re.search(r"\d\D+\d", value) for value in some):
        return False
    return any(_fits(pandas.Series(some), form) for form in FORMATS)


def _parse(column: Any, form: str | None, name: str, file: str) -> tuple[Any, str]:
    import pandas

    if pandas.api.types.is_datetime64_any_dtype(column.dtype):
        return column, ""
    if pandas.api.types.is_numeric_dtype(column.dtype):
        column = column.map(_write_number)
    text = column.where(column != "")
    if form is not None:
        try:
            return pandas.to_datetime(text, format=form, utc="%z" in form or None), form
        except (ValueError, TypeError, OverflowError) as error:
            wrong = _first_misfit(text.dropna(), form)
            raise DataError(
                f"data.date_format: {form!r} does not fit {wrong!r} in column {name!r} of {file}; if it "
                f"means that there is no date, set data.na_values = [{json.dumps(wrong)}]"
            ) from error
    known = text.dropna()
    if known.str.fullmatch(r"-?\d+(\.\d+)?").all():
        return _parse_numbers(text, known, name, file)
    fitting = [candidate for candidate in FORMATS if _fits(known, candidate)]
    if not fitting:
        _raise_unknown(known, name, file)
    readings = [(candidate, _to_datetime(text, candidate)) for candidate in fitting]
    chosen, times = readings[0]
    for other, others in readings[1:]:
        differs = (times != others) & times.notna()
        if differs.any():
            raise DataError(
                f"data.dates: {text[differs].iloc[0]!r} in column {name!r} of {file} may be two dates; "
                f'set data.date_format = "{chosen}" or "{other}"'
            )
    return times, chosen


def _raise_unknown(known: Any, name: str, file: str) -> NoReturn:
    """Raise DataError for dates that are written in different forms, or in one that is not detected."""
    first = known.iloc[0]
    form = next((candidate for candidate in FORMATS if _fits(known[:1], candidate)), None)
    if form is None:
        raise DataError(
            f"data.dates: {first!r} in column {name!r} of {file} is no date in one of the usual forms; set "
            'data.date_format, such as "%d.%m.%Y %H:%M"'
        )
    wrong = _first_misfit(known, form)
    raise DataError(
        f"data.dates: {wrong!r} in column {name!r} of {file} is not written like {first!r}; if it means that "
        f"there is no date, set data.na_values = [{json.dumps(wrong)}], else data.date_format"
    )


def _first_misfit(known: Any, form: str) -> str:
    """Return the first text that is not a date in this form."""
    for text in known.unique():
        if not _fits(known[known == text][:1], form):
            return str(text)
    return str(known.iloc[0])


def _parse_numbers(text: Any, known: Any, name: str, file: str) -> tuple[Any, str]:
    """Read numbers as yyyymmdd if all of them are such dates, else as Unix times."""
    import pandas

    if known.str.fullmatch(r"(1[89]|2[01])\d{6}").all() and _fits(known, "%Y%m%d"):
        return pandas.to_datetime(text, format="%Y%m%d"), "%Y%m%d"
    numbers = text.astype("float64")
    if known.str.fullmatch(r"\d{1,4}").all():
        raise DataError(
            f"data.dates: column {name!r} of {file} has numbers such as {known.iloc[0]!r}, which are no "
            "dates; remove it from data.dates"
        )
    unit, per_second = next(found for limit, *found in UNITS if numbers.abs().max() < limit)
    return pandas.to_datetime((numbers / per_second).round(6), unit="s"), f"Unix time in {unit}"


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
