"""Dates: numbers that are no likely Unix times are refused, words among dates named all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.support.data_files import all_of, load
from tests.support.remedies import follow
from tests.support.table_files import ROWS, refusal, roles, write


def years(keys: dict[str, Any], source: str = "CSV") -> set[float]:
    data = load(source, **keys, normalize="none")
    column = 1 if data.spec.input_shape == (6,) else 0
    return {row[column].item() for batch in (data.train, data.val) for row in all_of(batch)[0]}


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (lambda n: 43831 + n, ""),
        (lambda n: 43831.25 + n, ""),
        (lambda n: 202001 + n % 12, "%Y%m"),
        (lambda n: 202001010000 + n, "%Y%m%d%H%M"),
        (lambda n: 20200101000000 + n, "%Y%m%d%H%M%S"),
        (lambda n: (10 + n % 18) * 1_000_000 + 122000, "%d%m%Y"),
        (lambda n: 2458849 + n, ""),
        (lambda n: 0 if n == 3 else 1577836800 + n, "s"),
        (lambda n: 1000 * n, ""),
    ],
)
@pytest.mark.parametrize("source", ["CSV", "Parquet"])
def test_numbers_that_are_rather_no_unix_times_are_refused(
    tmp_path: Path, value: Callable[[int], float], form: str, source: str
) -> None:
    if source == "CSV":
        keys = write(tmp_path, "d,y", lambda n: f"{value(n)},{n % 2}")
    else:
        pytest.importorskip("pyarrow")
        frame = pandas.DataFrame({"d": [value(n) for n in range(ROWS)], "y": [n % 2 for n in range(ROWS)]})
        frame.to_parquet(tmp_path / "t.parquet")
        keys = {"root": str(tmp_path / "t.parquet"), "target": "y"}
    keys["dates"] = ["d"]
    message = refusal(keys, source)
    assert "column 'd' of t." in message
    assert "which are no dates in one of the usual forms" in message
    assert roles(load(source, **follow(message, keys, "remove")))["d"][0] != "date"
    if form:
        assert f'"{form}"' in message
        found = years(keys | {"date_format": form}, source)
        assert found <= {1970.0, 2000.0, 2020.0}


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_likely_unix_times_are_read(tmp_path: Path, unit: int) -> None:
    keys = write(tmp_path, "d,y", lambda n: f"{(1577836800 + n) * unit},{n % 2}") | {"dates": ["d"]}
    assert years(keys) == {2020.0}


@pytest.mark.parametrize(
    ("name", "value"), [("date", lambda n: 20200101 + n % 28), ("created_at", lambda n: 1577836800 + n * n)]
)
def test_numbers_that_may_be_dates_are_told(tmp_path: Path, name: str, value: Callable[[int], int]) -> None:
    keys = write(tmp_path, f"{name},a,y", lambda n: f"{value(n)},{n * 7 % 31},{n % 2}")
    (note,) = (note for note in load("CSV", **keys).notes if "may be dates" in note)
    assert roles(load("CSV", **follow(note, keys)))[name][0] == "date"


@pytest.mark.parametrize("first", ["2021-03-04", "tbd"])
@pytest.mark.parametrize("keys", [{}, {"date_format": "%Y-%m-%d"}, {"na_values": ["-99"]}])
def test_all_words_among_dates_are_named_at_once(tmp_path: Path, first: str, keys: dict[str, Any]) -> None:
    words = {0: first, 3: "tbd", 7: "unbekannt", 9: "-99" if "na_values" in keys else "tbd", 11: "0000-00-00"}
    table = write(
        tmp_path, "d,a,y", lambda n: f"{words.get(n, f'2021-03-{n % 28 + 1:02d}')},{n * 7 % 31},{n % 2}"
    )
    message = refusal(table)  # not given as dates
    assert "column 'd'" in message
    keys = {**table, **keys, "dates": ["d"]}
    message = refusal(keys)
    assert all(f"'{word}'" in message for word in ("tbd", "unbekannt", "0000-00-00"))
    data = load("CSV", **follow(message, keys, "na_values", "missing"))
    assert roles(data)["d"][0] == "date"


def test_words_among_dates_that_are_not_given_are_part_of_the_remedy(tmp_path: Path) -> None:
    keys = write(
        tmp_path,
        "d,a,y",
        lambda n: f"{'tbd' if n == 3 else f'2021-03-{n % 28 + 1:02d}'},{n * 7 % 31},{n % 2}",
    )
    message = refusal(keys)
    assert 'set data.dates = ["d"] and data.na_values = ["tbd"] and data.missing = "drop"' in message
    assert roles(load("CSV", **follow(message, keys, "dates", "na_values", "missing")))["d"][0] == "date"


def test_words_among_unix_times_are_named(tmp_path: Path) -> None:
    keys = write(tmp_path, "d,y", lambda n: f"{'tbd' if n == 3 else 1577836800 + n},{n % 2}") | {
        "dates": ["d"]
    }
    message = refusal(keys)
    assert "'tbd' in column 'd' of t.csv is not written like '1577836800'" in message
    assert years(follow(message, keys, "na_values", "missing")) == {2020.0}


def test_dates_in_two_forms_are_refused_with_a_way_out(tmp_path: Path) -> None:
    keys = write(
        tmp_path,
        "d,a,y",
        lambda n: f"{f'2021-03-{n % 28 + 1:02d}' if n % 2 else f'{n % 28 + 1}.4.2021'},{n},{n % 2}",
    )
    keys["dates"] = ["d"]
    message = refusal(keys)
    assert "write all dates alike" in message
    followed = follow(message, keys, "drop")
    assert load("CSV", **followed | {"dates": []}).spec.input_shape == (1,)


def test_years_of_two_digits_are_told_with_the_range(tmp_path: Path) -> None:
    keys = write(tmp_path, "d;y", lambda n: f"{n % 28 + 1:02}.01.{n + 50};{n % 2}") | {"dates": ["d"]}
    data = load("CSV", **keys)
    assert "1969-01-20 to 2068-01-19" in roles(data)["d"][1]
    assert any("column 'd' has years of two digits, which are read as 1969 to 2068" in n for n in data.notes)
