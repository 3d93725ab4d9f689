"""Values of columns keep their digits, gaps hide nothing, and equal names and words are equal."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.support.data_files import load
from tests.support.remedies import follow
from tests.support.table_files import ROWS, refusal, roles, write

PLAYERS = ["76561198000000001", "76561198000000002", "76561198000000900"]


def parquet(folder: Path, **columns: Any) -> dict[str, Any]:
    pytest.importorskip("pyarrow")
    pandas.DataFrame(columns).to_parquet(folder / "t.parquet")
    return {"root": str(folder / "t.parquet"), "target": "y"}


@pytest.mark.parametrize("task", ["auto", "multiclass"])
def test_labels_of_many_digits_are_told_apart(tmp_path: Path, task: str) -> None:
    keys = write(tmp_path, "a,y", lambda n: f"{n * 7 % 31},{PLAYERS[n % 3]}")
    assert load("CSV", **keys, task=task).spec.class_names == PLAYERS
    keys = write(tmp_path, "a,y", lambda n: f"{n * 7 % 31},{PLAYERS[n % 2]}")
    assert load("CSV", **keys, task=task).spec.class_names == PLAYERS[:2]


@pytest.mark.parametrize("gaps", [False, True])
def test_labels_of_many_digits_in_parquet(tmp_path: Path, gaps: bool) -> None:
    labels = pandas.array([None if gaps and n == 4 else 2**60 + n % 3 for n in range(ROWS)], dtype="Int64")
    keys = parquet(tmp_path, a=[n * 7 % 31 for n in range(ROWS)], y=labels)
    names = load("Parquet", **keys, missing="drop").spec.class_names
    assert names == [str(2**60 + n) for n in range(3)]


@pytest.mark.parametrize("first", [1234567890123456789, 10**22])
def test_features_that_64_bit_floats_cannot_tell_apart_are_refused(tmp_path: Path, first: int) -> None:
    keys = write(tmp_path, "a,player,y", lambda n: f"{n * 7 % 31},{first + n // 2},{n % 2}")
    message = refusal(keys)
    assert "column 'player' has numbers that 64-bit floats cannot tell apart" in message
    assert load("CSV", **follow(message, keys, "categorical")).spec.input_shape == (1 + ROWS // 2,)
    assert load("CSV", **follow(message, keys, "drop")).spec.input_shape == (1,)
    keys = write(tmp_path, "a,player,y", lambda n: f"{n * 7 % 31},{first + n // 2}.0,{n % 2}")
    assert "column 'player' has numbers that 64-bit floats cannot tell apart" in refusal(keys)
    keys = write(tmp_path, "a,player_id,y", lambda n: f"{n * 7 % 31},{first + n},{n % 2}")
    assert "identifies the row" in roles(load("CSV", **keys))["player_id"][1]


@pytest.mark.parametrize("end", [";;;\n;;;\n;;;", ";3;c1;1", ""])
def test_gaps_do_not_hide_a_column_that_names_the_row(tmp_path: Path, end: str) -> None:
    keys = write(tmp_path, "id;x;c;y", lambda n: f"{n + 1};{n * 7 % 31};c{n % 3};{n % 2}", ROWS, end)
    data = load("CSV", **keys, missing="mean")
    assert roles(data)["id"] == ("dropped", "identifies the row (1 to 40)")
    assert any("columns that are not used: 'id'" in note for note in data.notes)


def test_an_amount_that_64_bit_floats_cannot_tell_apart_is_refused(tmp_path: Path) -> None:
    keys = write(tmp_path, "a,y", lambda n: f"{n * 7 % 31},{PLAYERS[n % 3]}")
    message = refusal(keys | {"task": "regression"})
    assert (
        "has numbers that 64-bit floats cannot tell apart (76561198000000001, 76561198000000002)" in message
    )
    assert load("CSV", **keys, task="multiclass").spec.num_outputs == 3


def test_leading_zeros_are_found_anywhere(tmp_path: Path) -> None:
    keys = write(tmp_path, "zip,a,y", lambda n: f"{n + 1000},{n * 7 % 31},{n % 2}", 1_500, "00512,3,1")
    (note,) = (note for note in load("CSV", **keys).notes if "leading zeros" in note)
    assert "column 'zip' has leading zeros ('00512')" in note
    assert "512 to 2499" in roles(load("CSV", **keys))["zip"][1]


@pytest.mark.parametrize("value", ["{},00,000", "{},5-", "({},5)"])
def test_numbers_in_forms_that_are_not_read_are_refused(tmp_path: Path, value: str) -> None:
    keys = write(tmp_path, "a;b;y", lambda n: f"{n * 7 % 31};{value.format(n + 1)};{n % 2}")
    message = refusal(keys)
    assert "column 'b' has texts that are no numbers in a usual form" in message
    assert load("CSV", **follow(message, keys, "drop")).spec.input_shape == (1,)


def test_gaps_do_not_hide_leading_zeros(tmp_path: Path) -> None:
    def line(n: int) -> str:
        return f"{'' if n == 30 else f'{n % 20 + 990:05d}'},{n * 7 % 31},{n % 2}"

    data = load("CSV", **write(tmp_path, "zip,a,y", line), missing="mean")
    assert any("column 'zip' has leading zeros ('00990')" in note for note in data.notes)
    texts = [f"{n % 20 + 990:05d}" for n in range(ROWS)]
    keys = parquet(tmp_path, zip=texts, a=[n * 7 % 31 for n in range(ROWS)], y=[n % 2 for n in range(ROWS)])
    (note,) = (note for note in load("Parquet", **keys).notes if "leading zeros" in note)
    assert load("Parquet", **follow(note, keys)).spec.input_shape == (20 + 1,)


@pytest.mark.parametrize(
    "value",
    [
        lambda n: f"{n % 15}M" if n % 2 else f"{n % 15}k",
        lambda n: f"{n % 15}M" if n % 2 else f"{n % 15}",
        lambda n: "Varies with device" if n == 3 else f"{n % 30}M",
        lambda n: f"{n % 30} {'kg' if n % 2 else 'g'}",
        lambda n: f"{n % 30}{'€' if n % 2 else '$'}",
    ],
)
def test_numbers_with_several_units_are_refused(tmp_path: Path, value: Callable[[int], str]) -> None:
    keys = write(tmp_path, "a,size,y", lambda n: f"{n * 7 % 31},{value(n)},{n % 2}", 600)
    message = refusal(keys)
    assert "column 'size' has numbers with a unit, such as" in message
    assert load("CSV", **follow(message, keys, "drop")).spec.input_shape == (1,)


@pytest.mark.parametrize("value", [lambda n: f"{n % 9}{'ab'[n % 2]}", lambda n: ("1st", "2nd", "3rd")[n % 3]])
def test_codes_with_letters_are_categories(tmp_path: Path, value: Callable[[int], str]) -> None:
    data = load("CSV", **write(tmp_path, "a,x,y", lambda n: f"{n * 7 % 31},{value(n)},{n % 2}"))
    assert roles(data)["x"][0] == "categorical"


@pytest.mark.parametrize(("file", "key"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_letters_with_accents_are_the_same_however_they_are_coded(
    tmp_path: Path, file: Any, key: Any
) -> None:
    header = unicodedata.normalize(file, "Überlebt,größe,a")
    both = [unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD")]
    keys = write(tmp_path, header, lambda n: f"{n % 2},{both[n % 3 % 2]}{n % 2},{n * 7 % 31}")
    keys |= {"target": unicodedata.normalize(key, "Überlebt"), "drop": [unicodedata.normalize(key, "a")]}
    assert roles(load("CSV", **keys))["größe"] == ("categorical", "2 values: Zürich0, Zürich1")


@pytest.mark.parametrize(
    ("title", "line"),
    [
        ("Umsatz 2024\n\n", 3),
        ("Bericht;;\n", 2),
        ("Umsatz 2024\n", 2),
        ("Stand;01.02.2024;\n;;\n", 3),
        ("a,b\n", 2),
    ],
)
def test_a_title_before_the_header_is_found(tmp_path: Path, title: str, line: int) -> None:
    keys = write(tmp_path, f"{title}a;t;y", lambda n: f"{n},5;x{n % 3};{n % 2}")
    message = refusal(keys)
    assert f"if line {line} has the names of the columns, set data.skiprows = {line - 1}" in message
    assert load("CSV", **follow(message, keys)).spec.input_shape == (4,)


def test_a_wrong_name_is_no_title(tmp_path: Path) -> None:
    keys = write(tmp_path, "a;t", lambda n: f"{n},5;{'xyz'[n % 3]}")
    assert "has no column 'y', did you mean" not in (message := refusal(keys))
    assert "skiprows" not in message
    assert "header" not in message


def test_single_quotes_with_the_separator_in_them_are_refused(tmp_path: Path) -> None:
    keys = write(tmp_path, "name,y", lambda n: f"'a, {n % 3}',{n % 2}")
    assert "has a field in single quotes with the separator in it in line 2" in refusal(keys)
    keys = write(tmp_path, "name,y", lambda n: f"a{n % 3},{n % 2}", 1_500, "'a, b',1")
    assert "in line 1,502, but 2 columns" in (message := refusal(keys))
    assert "single quotes do not enclose fields" in message
