"""How numbers are written: what is found out from all values, what is refused, and that remedies work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.support.data_files import load
from tests.support.remedies import follow
from tests.support.table_files import ROWS, refusal, roles, write


@pytest.mark.parametrize("gap", [-999, -999.0, "-999", "-999,0"])
def test_na_values_are_compared_as_the_file_writes_numbers(tmp_path: Path, gap: str | float) -> None:
    keys = write(tmp_path, "a;y", lambda n: f"{'-999,0' if n % 8 == 0 else f'{n},5'};{n % 2}")
    data = load("CSV", **keys, na_values=[gap], missing="mean")
    assert roles(data)["a"] == ("numeric", "1.5 to 39.5; 5 missing")


@pytest.mark.parametrize(
    ("values", "header"),
    [
        (["950", "1.200", "12.500", "80"], "a;b;y"),
        (["1.200", "12.500", "3.400", "7.100"], "a;b;y"),
        (["950", "1.200", "12.500", "80"], "a,b,y"),
        (["1.250.000", "1.200", "12.500", "80"], ""),
    ],
)
def test_points_that_may_separate_thousands_are_refused(
    tmp_path: Path, values: list[str], header: str
) -> None:
    sep = "," if "," in header else ";"
    keys = write(
        tmp_path, header or "a;b;y", lambda n: sep.join([values[n % 4], str(n * 7 % 31), str(n % 2)])
    )
    if not header:  # one of the values has one reading only
        assert roles(load("CSV", **keys))["a"] == ("numeric", "80 to 1250000")
        return
    message = refusal(keys)
    assert 'may be 1.2 or 1200: set data.decimal = "." or data.thousands = "."' in message
    assert roles(load("CSV", **follow(message, keys, "decimal")))["a"][1].endswith((" to 950", " to 12.5"))
    assert roles(load("CSV", **follow(message, keys, "thousands")))["a"][1].endswith(" to 12500")


def test_points_are_decimal_points_if_any_number_shows_it(tmp_path: Path) -> None:
    keys = write(tmp_path, "a;b;y", lambda n: f"{n + 1}.125;{n}.5;{n % 2}")
    assert roles(load("CSV", **keys))["a"] == ("numeric", "1.125 to 40.125")
    # Where commas separate columns, three decimals everywhere are told.
    keys = write(tmp_path, "a,y", lambda n: f"{n + 1}.125,{n % 2}")
    data = load("CSV", **keys)
    assert roles(data)["a"] == ("numeric", "1.125 to 40.125")
    assert "numbers such as '1.125' in column 'a' are read with data.decimal = \".\"" in data.notes


def test_a_number_that_contradicts_the_others_is_named_by_its_line_wherever_it_is(tmp_path: Path) -> None:
    keys = write(tmp_path, "a;b;y", lambda n: f"1.{100 + n % 800};{n},5;{n % 2}", 1_100, "1.5;3,5;1")
    message = refusal(keys)
    assert "'0,5' in 'b' (line 2) and '1.5' in 'a' (line 1,102)" in message
    assert 'set data.drop = ["b"] or set data.drop = ["a"]' in message
    for name in ("a", "b"):
        assert load("CSV", **keys, drop=[name]).spec.input_shape == (1,)
        assert load("CSV", **keys, categorical=[name], drop=[]).spec.input_shape > (1,)


@pytest.mark.parametrize(("key", "mark", "value"), [("thousands", ",", "12,5"), ("decimal", ".", "12,5")])
def test_numbers_that_do_not_fit_the_stated_format_are_refused(
    tmp_path: Path, key: str, mark: str, value: str
) -> None:
    keys = write(tmp_path, "a;y", lambda n: f"{value if n == 3 else f'{n},25'};{n % 2}") | {key: mark}
    message = refusal(keys)
    assert (
        f"data.{key}: '0,25' in column 'a' of t.csv (line 2) is not written with data.{key} = \"{mark}\""
        in message
    )
    assert load("CSV", **follow(message, keys, "categorical")).spec.input_shape == (ROWS,)
    if key == "thousands":
        assert 'set data.decimal = "," and remove data.thousands' in message
    changed = {name: given for name, given in keys.items() if name != key} | {"decimal": ","}
    assert roles(load("CSV", **changed))["a"][0] == "numeric"


@pytest.mark.parametrize("count", [30, 8])
def test_words_among_numbers_do_not_hide_how_these_are_written(tmp_path: Path, count: int) -> None:
    keys = write(
        tmp_path, "a;b;y", lambda n: f"{'k.A.' if n == 3 else f'{n % count},5'};{n * 7 % 31};{n % 2}"
    )
    told = load("CSV", **keys, na_values=["k.A."], missing="drop")
    assert roles(told)["a"][0] == "numeric"
    assert any('data.decimal = ","' in note for note in told.notes)
    if count == 8:
        (message,) = (
            note for note in load("CSV", **keys).notes if "numbers and other values ('k.A.')" in note
        )
    else:
        message = refusal(keys)
        assert "has numbers, but also 'k.A.' (the first one in line 5)" in message
    data = load("CSV", **follow(message, keys, "na_values", "missing"))
    assert roles(data)["a"] == ("numeric", f"0.5 to {count - 1}.5")


def test_a_target_with_decimal_commas_and_words(tmp_path: Path) -> None:
    keys = write(tmp_path, "a;y", lambda n: f"{n * 7 % 31};{'k.A.' if n == 3 else f'{n},5'}")
    for task in ("auto", "regression"):
        message = refusal(keys | {"task": task})
        assert "column 'y' of t.csv has numbers, but also 'k.A.' (the first one in line 5)" in message
        data = load("CSV", **follow(message, keys | {"task": task}, "na_values", "missing"))
        assert (data.spec.task, roles(data)["y"][1][:11]) == ("regression", "0.5 to 39.5")


def test_texts_of_parquet_are_numbers_by_the_same_rules(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")

    def save(value: Callable[[int], str]) -> dict[str, Any]:
        frame = pandas.DataFrame({"a": [value(n) for n in range(ROWS)], "y": [n % 2 for n in range(ROWS)]})
        frame.to_parquet(tmp_path / "t.parquet")
        return {"root": str(tmp_path / "t.parquet"), "target": "y"}

    data = load("Parquet", **save(lambda n: f"{n},5"))
    assert roles(data)["a"] == ("numeric", "0.5 to 39.5")
    assert any('numbers are read with data.decimal = ","' in note for note in data.notes)
    keys = save(lambda n: f"{n + 1},234")
    message = refusal(keys, "Parquet")
    assert "'1,234' in column 'a' of t.parquet may be 1.234 or 1234" in message
    assert roles(load("Parquet", **follow(message, keys, "decimal")))["a"] == ("numeric", "1.234 to 40.234")
    assert roles(load("Parquet", **follow(message, keys, "thousands")))["a"] == ("numeric", "1234 to 40234")


def test_columns_that_are_not_used_do_not_decide(tmp_path: Path) -> None:
    keys = write(tmp_path, "a;b;y", lambda n: f"{n * 7 % 31}.5;{n + 1},234;{n % 2}")
    assert load("CSV", **keys, features=["a"]).spec.input_shape == (1,)
    assert load("CSV", **keys, drop=["b"]).spec.input_shape == (1,)
    keys = write(tmp_path, "a;b;y", lambda n: f"{n * 7 % 31};{n + 1}.234;{n % 2}")
    assert "may be 1.234 or 1234" in refusal(keys)
    assert load("CSV", **keys, drop=["b"]).spec.input_shape == (1,)
    keys = write(tmp_path, "a;b;y", lambda n: f"word {n % 5};{n},5;{n % 2}") | {"text": "a"}
    assert load("CSV", **keys).spec.num_outputs == 2
