"""Finds out how a table writes its numbers, from all values of all columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from torchconsole.engine.components.data.tables.number_format import CANDIDATES, NumberFormat
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.remedies import leave_out, toml_list
from torchconsole.engine.errors import DataError

MAX_WORDS = 10
"""A column of numbers may have up to this many different texts without a digit, such as "unknown"."""

HAS_DIGIT = re.compile("[0-9]").search
HAS_GROUP = re.compile("[0-9][^0-9][0-9]{3}(?![0-9])").search
"""Finds a mark that may separate thousands; numbers without one have the same value in all formats."""

GROUPED = NumberFormat(",", ".")
"""The format in which 1.234 is a whole number."""

Locate = Callable[[str, str], str]
"""Returns where the first value of a column is in the file, from the column and the value."""


def stated_format(options: TableOptions) -> NumberFormat:
    """Return the format that the options state, with points where they say nothing."""
    decimal = options.decimal or ("," if options.thousands == "." else ".")
    return NumberFormat(decimal, options.thousands)


def find_number_format(
    texts: Mapping[str, Sequence[str]],
    options: TableOptions,
    locate: Locate,
    file: str,
    *,
    commas_separate: bool = False,
) -> tuple[NumberFormat, list[str]]:
    """Return the format in which all numbers of a table are written, and notes if it is not obvious.

    `texts` has the different values of each column that may have numbers, as they are written and without
    gaps. Raises DataError if columns contradict each other or the options, and if a number has two readings.
    `commas_separate` says that commas separate the columns, so that there is no decimal comma.
    """
    stated = stated_format(options)
    wanted = [
        form
        for form in dict.fromkeys((stated, *CANDIDATES))
        if options.decimal in (None, form.decimal) and options.thousands in (None, form.thousands)
    ]
    numbers = {name: found for name, values in texts.items() if (found := _numbers_among(values))}
    _check_stated(numbers, wanted, options, locate, file)
    fitting = {name: forms for name, values in numbers.items() if (forms := fitting_formats(values, wanted))}
    numbers = {name: numbers[name] for name in fitting}
    possible = [form for form in wanted if all(form in forms for forms in fitting.values())]
    if not possible:
        _raise_contradiction(numbers, wanted, options, locate, file)
    notes = []
    for name, values in numbers.items():
        if (ambiguous := _find_ambiguity(values, possible)) is None:
            continue
        value, readings = ambiguous
        if not (commas_separate and _has_decimals(values, readings)):
            (one, first), (other, second) = list(readings.items())[:2]
            raise DataError(
                f"data.decimal: {value!r} in column {name!r} of {file} may be {one:g} or {other:g}: set "
                f"{_key(first)} or {_key(second)}"
            )
        notes = [f'numbers such as {value!r} in column {name!r} are read with data.decimal = "."']
    form = possible[0]
    if form == stated:
        return stated, notes
    name, example = next(
        (name, value) for name, values in numbers.items() for value in values if not stated.fits([value])
    )
    return form, [_describe(form, stated, name, example)]


def fitting_formats(values: Sequence[str], forms: Sequence[NumberFormat]) -> list[NumberFormat]:
    """Return the formats in which all values are numbers.

    A format with a separator of thousands also takes numbers without one, so most need no look of their own.
    """
    plain = {mark for mark in {form.decimal for form in forms} if NumberFormat(mark).fits(values)}
    return [form for form in forms if form.decimal in plain or form.fits(values)]


def _numbers_among(values: Sequence[str]) -> list[str]:
    """Return the values with digits if the others are so few that they may mean that there is no number."""
    numbers = [value for value in values if HAS_DIGIT(value)]
    words = len(values) - len(numbers)
    return numbers if words <= min(MAX_WORDS, len(numbers)) else []


def _find_ambiguity(
    values: Sequence[str], possible: Sequence[NumberFormat]
) -> tuple[str, dict[float, NumberFormat]] | None:
    """Return the first value that is one number in one format and another in another, with the readings."""
    for value in values if len(possible) > 1 else ():
        if HAS_GROUP(value):
            readings: dict[float, NumberFormat] = {}
            for form in possible:
                readings.setdefault(float(form.parse([value])[0]), form)
            if len(readings) > 1:
                return value, readings
    return None


def _has_decimals(values: Sequence[str], readings: Mapping[float, NumberFormat]) -> bool:
    """Whether each number of a column is written with a point, as numbers with three decimals are."""
    return NumberFormat() in readings.values() and all("." in value for value in values)


def _check_stated(
    numbers: Mapping[str, Sequence[str]],
    wanted: Sequence[NumberFormat],
    options: TableOptions,
    locate: Locate,
    file: str,
) -> None:
    """Raise DataError for a column of numbers that are not written as the options say."""
    if options.decimal is None and options.thousands is None:
        return
    for name, values in numbers.items():
        if fitting_formats(values, wanted):
            continue
        other = next((form for form in (NumberFormat(), *CANDIDATES) if form.fits(values)), None)
        if other is not None:
            wrong = next(value for value in values if not wanted[0].fits([value]))
            key = "decimal" if options.decimal is not None else "thousands"
            raise DataError(
                f"data.{key}: {wrong!r} in column {name!r} of {file} ({locate(name, wrong)}) is not written "
                f"with {_stated_keys(options)}: {_restate(other, options)}{_settle([name], options)}"
            )


def _raise_contradiction(
    numbers: Mapping[str, Sequence[str]],
    wanted: Sequence[NumberFormat],
    options: TableOptions,
    locate: Locate,
    file: str,
) -> NoReturn:
    """Raise DataError about a number that is written otherwise than most, and one that contradicts it."""
    best = max(wanted, key=lambda form: sum(form.fits(values) for values in numbers.values()))
    name = next(name for name, values in numbers.items() if not best.fits(values))
    wrong = next(value for value in numbers[name] if not best.fits([value]))
    fitting = [form for form in wanted if form.fits([wrong])]
    other, example = next(
        (
            (other, value)
            for other, values in numbers.items()
            for value in values
            if other != name and not any(form.fits([value]) for form in fitting)
        ),
        ("", ""),
    )
    against = f" and {example!r} in {other!r} ({locate(other, example)})" if other else ""
    raise DataError(
        f"data: the columns of {file} write numbers in different ways, such as {wrong!r} in {name!r} "
        f"({locate(name, wrong)}){against}: write them alike"
        f"{_settle([name, other] if other else [name], options)}"
    )


def _settle(names: Sequence[str], options: TableOptions) -> str:
    """Return what else to do about columns, of which one has numbers that cannot be read with the others."""
    features = [name for name in names if name not in options.targets]
    if not features:
        return ""
    categorical = [f"data.categorical = {toml_list([*options.categorical, name])}" for name in features]
    left_out = [leave_out([name], options) for name in features]
    which = "its values" if len(names) == 1 else "the values of one"
    return f"; if {which} are categories, set {' or '.join(categorical)}; or {' or '.join(left_out)}"


def _restate(form: NumberFormat, options: TableOptions) -> str:
    """Return how the options have to change to state the format."""
    changes = [] if form.decimal == options.decimal else [f'set data.decimal = "{form.decimal}"']
    if form.thousands != options.thousands:
        new = f'set data.thousands = "{form.thousands}"' if form.thousands else "remove data.thousands"
        changes.append(new)
    return " and ".join(changes)


def _stated_keys(options: TableOptions) -> str:
    given = {"decimal": options.decimal, "thousands": options.thousands}
    return " and ".join(f'data.{key} = "{mark}"' for key, mark in given.items() if mark is not None)


def _describe(form: NumberFormat, stated: NumberFormat, name: str, example: str) -> str:
    keys = []
    if form.decimal != stated.decimal:
        keys.append(f'data.decimal = "{form.decimal}"')
    if form.thousands != stated.thousands:
        keys.append(f'data.thousands = "{form.thousands}"')
    return f"numbers are read with {' and '.join(keys)}, as {example!r} in column {name!r} shows"


def _key(form: NumberFormat) -> str:
    """Return the one key that states the format well enough."""
    if form.thousands is None:
        return f'data.decimal = "{form.decimal}"'
    return f'data.thousands = "{form.thousands}"'
