"""The keys of the data section that say how a table is read, and what its columns are used for."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WHITESPACE = r"\s+"
"""The only separator of more than one character: any run of blanks."""

POLICIES = ("error", "drop", "mean")


@dataclass(frozen=True)
class TableOptions:
    """What the columns of a table are used for."""

    target: str | Sequence[str]
    """The column, or columns, to predict."""
    features: Sequence[str] | None = None
    """The columns to predict from; all others by default."""
    drop: Sequence[str] = ()
    """Columns that are not used."""
    categorical: Sequence[str] = ()
    """Columns of numbers that are categories, as columns of text always are; one input per category."""
    dates: Sequence[str] = ()
    """Columns of dates, times or Unix times: year, month, day, weekday (Monday is 0), seconds of the day."""
    date_format: str | None = None
    """How dates are written, as in Python's strptime; found out by default."""
    na_values: Sequence[str | float] = ()
    """Further values that mean that there is none, in all columns."""
    decimal: str | None = None
    """Decimal point of numbers in text; detected by default."""
    thousands: str | None = None
    """Separator of thousands in numbers in text; detected by default."""
    missing: str = "error"
    """Handling of missing feature values: error; drop (leave out the row); mean (of the training set)."""

    def __post_init__(self) -> None:
        """Raises ValueError for values of the wrong type, and for columns that contradict each other."""
        for key, given in (
            ("target", self.targets),
            ("features", self.features),
            ("drop", self.drop),
            ("categorical", self.categorical),
            ("dates", self.dates),
        ):
            if given is not None and not _is_list(given, str):
                if _is_list(given, str | int):
                    raise ValueError(f'{key} must have column names in quotes, such as "{given[0]}"')
                raise ValueError(f"{key} must be a list of column names, not {given!r}")
        for key in ("decimal", "thousands"):
            if (mark := getattr(self, key)) is not None and not (isinstance(mark, str) and len(mark) == 1):
                raise ValueError(f"{key} must be one character, not {mark!r}")
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError("decimal and thousands must differ from each other")
        if not self.targets:
            raise ValueError("target must name at least one column")
        if self.missing not in POLICIES:
            raise ValueError(f"missing must be error, drop or mean, not {self.missing!r}")
        if not _is_list(self.na_values, str | int | float):
            raise ValueError(f"na_values must be a list of texts and numbers, not {self.na_values!r}")
        if self.date_format is not None and not isinstance(self.date_format, str):
            raise ValueError(f'date_format must be a text such as "%d.%m.%Y", not {self.date_format!r}')
        for key in ("target", "features", "drop", "categorical", "dates", "na_values"):
            if (given := getattr(self, key)) is not None:
                object.__setattr__(self, key, composed(given))
        self._check_overlap("drop", ("target", "features", "categorical", "dates"))
        self._check_overlap("dates", ("target", "categorical"))

    @property
    def targets(self) -> list[str]:
        """The target columns as a list."""
        return list(self.target) if isinstance(self.target, list | tuple) else [self.target]  # type: ignore[list-item]

    @property
    def as_written(self) -> set[str]:
        """Columns whose values are read as text, so that labels and categories look as they are written."""
        return {*self.targets, *self.categorical, *self.dates}

    def _check_overlap(self, key: str, others: Sequence[str]) -> None:
        names = set(getattr(self, key))
        for other in others:
            listed = self.targets if other == "target" else getattr(self, other) or ()
            if both := names & set(listed):
                raise ValueError(f"{min(both)!r} is in both {key} and {other}; remove it from one of them")


@dataclass(frozen=True)
class CSV(TableOptions):
    """A text file of rows, with the names of the columns in its first line."""

    sep: str | None = None
    r"""Separator of the columns, or `\s+` for blanks; comma, semicolon, tab or | is detected by default."""
    encoding: str = "utf-8"
    """Encoding of the file, as Python calls it."""
    quoting: bool = True
    """Whether double quotes enclose fields, which may then hold separators and line ends."""
    escapechar: str | None = None
    """Character before a double quote that belongs to a quoted field; by default it is written twice."""
    comment: str | None = None
    """Start of lines that are comments."""
    header: bool = True
    """Whether the first line has the names of the columns; otherwise they are called 0, 1, 2, ..."""
    skiprows: int = 0
    """Number of lines before the header."""

    def __post_init__(self) -> None:
        """Raises ValueError like `TableOptions`, and for separators and lines that cannot be used."""
        super().__post_init__()
        for key in ("sep", "escapechar"):
            given: Any = getattr(self, key)
            allowed = key == "sep" and given == WHITESPACE
            if given is not None and not allowed and not (isinstance(given, str) and len(given) == 1):
                alternative = f", or {WHITESPACE}" if key == "sep" else ""
                raise ValueError(f"{key} must be one character{alternative}, not {given!r}")
        if self.sep == WHITESPACE and (self.escapechar or not self.quoting):
            raise ValueError("quoting and escapechar need a sep of one character")
        if self.sep is not None and self.sep in (self.decimal, self.thousands):
            raise ValueError("sep, decimal and thousands must differ from each other")
        if self.comment is not None and not (isinstance(self.comment, str) and self.comment):
            raise ValueError(f'comment must be a text such as "#", not {self.comment!r}')
        if not isinstance(self.encoding, str):
            raise ValueError(f'encoding must be a name such as "cp1252", not {self.encoding!r}')
        if isinstance(self.skiprows, bool) or not isinstance(self.skiprows, int) or self.skiprows < 0:
            raise ValueError(f"skiprows must be a number of lines, not {self.skiprows!r}")


@dataclass(frozen=True)
class Parquet(TableOptions):
    """A Parquet file."""


@dataclass(frozen=True)
class Feather(TableOptions):
    """A Feather file, which is also called Arrow IPC."""


def composed(given: Any) -> Any:
    """Return a text, or each text of a list, with one code point per accented letter (Unicode's form NFC)."""
    if isinstance(given, str):
        return unicodedata.normalize("NFC", given)
    return [composed(item) for item in given] if isinstance(given, list | tuple) else given


def _is_list(given: Any, kinds: Any) -> bool:
    return isinstance(given, list | tuple) and all(
        isinstance(item, kinds) and not isinstance(item, bool) for item in given
    )
