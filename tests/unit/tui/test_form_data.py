"""What the form sees of the user's data without torch: missing paths, columns of tables, completed paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torchconsole.tui.form_data import completed_path, data_problems, table_columns


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a table and a folder of images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "houses.csv").write_text("area,rooms,price\n1,2,3\n")
    (tmp_path / "pictures" / "cats").mkdir(parents=True)
    return tmp_path


def csv(**keys: object) -> dict[str, object]:
    return {"data": {"name": "CSV", "root": "houses.csv", **keys}}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a,b\n1,2\n", ["a", "b"]),
        ("a;b c;d\n1;2;3\n", ["a", "b c", "d"]),
        ("\ufeffa\tb\n", ["a", "b"]),
        ('"a,b",c\n', ["a,b", "c"]),
        ("a,a\n", []),  # the reader of tables says what is wrong
        ("a,,b\n", []),
        ("", []),
        ("no end of line", []),
        ("a,b\r1,2\r3,4\n", []),
    ],
)
def test_the_columns_of_a_table_are_read_from_its_first_line(text: str, columns: list[str]) -> None:
    Path("houses.csv").write_text(text, encoding="utf-8")
    assert table_columns(csv()) == columns


def test_columns_that_cannot_be_told_for_sure_are_not_guessed(tmp_path: Path) -> None:
    assert table_columns(csv(header=False)) == []
    assert table_columns(csv(root="missing.csv")) == []
    assert table_columns(csv(root="pictures")) == []
    assert table_columns({"data": "nonsense"}) == []
    os.mkfifo("pipe.csv")
    assert table_columns(csv(root="pipe.csv")) == []
    Path("houses.csv").write_bytes(b"\xff\xfea\n")
    assert table_columns(csv()) == []


def test_missing_data_and_columns_are_reported_at_their_keys() -> None:
    assert data_problems(csv(target="price")) == {}
    assert "it has area, rooms, price" in data_problems(csv(target="rent"))["data.target"]
    assert data_problems(csv(root="no.csv"))["data.root"] == "there is no file no.csv"
    images = {"data": {"name": "ImageFolder", "root": "pictures"}}
    assert data_problems(images) == {}
    images["data"]["root"] = "houses.csv"
    assert data_problems(images)["data.root"] == "there is no folder houses.csv"
    assert "type the path" in data_problems({"data": {"name": "ImageFolder"}})["data.root"]
    assert "download" in data_problems({"data": {"name": "MNIST"}})["data.download"]


def test_paths_are_completed_as_in_a_shell(folder: Path) -> None:
    assert completed_path("pic") == "pictures/"
    assert completed_path("pictures/c") == "pictures/cats/"
    assert completed_path("pictures/") is None
    assert completed_path(f"{folder}/hou") == f"{folder}/houses.csv"
    assert completed_path("") is None
    assert completed_path("nowhere/x") is None
    Path("\x1b]52.csv").touch()
    assert completed_path("\x1b") is None


@pytest.mark.parametrize("sep", ["\n", "\r", '"', " ", "a", "\0", "ab", "", 5])
def test_any_separator_is_looked_at(sep: object) -> None:
    assert isinstance(table_columns(csv(sep=sep)), list)
