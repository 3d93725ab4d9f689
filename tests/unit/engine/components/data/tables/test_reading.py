"""Files of tables: separators, numbers, encodings, compression, quotes and rows that do not fit."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.support.data_files import load
from torchconsole.engine.components.data.tables.options import CSV, Feather, Parquet
from torchconsole.engine.components.data.tables.reading import Table, read_table
from torchconsole.engine.errors import DataError

ROWS = 30


def rows(line: Callable[[int], str], count: int = ROWS) -> str:
    return "".join(f"{line(number)}\n" for number in range(count))


PLAIN = "a,b,y\n" + rows(lambda n: f"{n * 7 % 30}.5,{n % 3},{n % 2}")


def read(folder: Path, content: str | bytes, name: str = "t.csv", **keys: Any) -> Table:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, CSV(**{"target": "y", **keys}))


def refusal(folder: Path, content: str | bytes, name: str = "t.csv", **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, content, name, **keys)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{folder}/", "")


def compressed(suffix: str, content: bytes) -> bytes:
    if suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("folder/t.csv", content)
            archive.writestr("__MACOSX/folder/._t.csv", b"\0")
        return buffer.getvalue()
    if suffix == ".zst":
        pyarrow = pytest.importorskip("pyarrow")
        sink = pyarrow.BufferOutputStream()
        with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(content)
        return bytes(sink.getvalue())
    return {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix](content)


@pytest.mark.parametrize(("sep", "word"), [(",", ""), (";", "semicolons"), ("\t", "tabs"), ("|", '"|"')])
def test_the_separator_is_found_and_told(tmp_path: Path, sep: str, word: str) -> None:
    table = read(tmp_path, PLAIN.replace(",", sep))
    assert list(table.frame.columns) == ["a", "b", "y"]
    assert table.frame["a"].dtype.kind == "f"
    key = sep.replace("\t", "\\t")
    told = [f'columns are separated by {word} in the first {ROWS + 1} rows (data.sep = "{key}")']
    assert table.notes == (told if word else [])
    assert read(tmp_path, PLAIN.replace(",", sep), sep=sep).notes == []


def test_a_separator_within_quotes_or_a_name_is_none(tmp_path: Path) -> None:
    content = '"size, in cm";"a|b";y\n' + rows(lambda n: f'{n},5;"x;{n % 3},\nz";{n % 2}')
    table = read(tmp_path, content)
    assert list(table.frame.columns) == ["size, in cm", "a|b", "y"]
    assert table.frame["a|b"][1] == "x;1,\nz"
    assert len(table.frame) == ROWS


def test_separators_that_are_not_detected(tmp_path: Path) -> None:
    assert 'set data.sep = "," or ";"' in refusal(tmp_path, "a,b;y\n" + rows(lambda n: f"{n},1;{n % 2}"))
    blanks = PLAIN.replace(",", "   ")
    assert 'set data.sep = "\\\\s+"' in refusal(tmp_path, blanks)
    assert list(read(tmp_path, blanks, sep=r"\s+").frame["b"][:4]) == [0, 1, 2, 0]
    assert list(read(tmp_path, PLAIN.replace(",", ":"), sep=":").frame["b"][:4]) == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("write", "decimal", "thousands", "told"),
    [
        (lambda n: f"{n},25", ",", None, 'data.decimal = ","'),
        (lambda n: f'"{n + 1},234.5"', ".", ",", 'data.thousands = ","'),
        (lambda n: f'"{n + 1},234,567"', ".", ",", 'data.thousands = ","'),
        (lambda n: f"{n + 1}.234.567,5", ",", ".", 'data.decimal = "," and data.thousands = "."'),
        (lambda n: f"{n + 1} 234", ".", " ", 'data.thousands = " "'),
        (lambda n: f"{n + 1}\u202f234", ".", " ", 'data.thousands = " "'),
        (lambda n: f"{n + 1}'234.5", ".", "'", 'data.thousands = "\'"'),
    ],
)
def test_numbers_that_are_written_otherwise_are_told(
    tmp_path: Path, write: Callable[[int], str], decimal: str, thousands: str | None, told: str
) -> None:
    table = read(tmp_path, "a;y\n" + rows(lambda n: f"{write(n)};{n % 2}"))
    assert (table.number_format.decimal, table.number_format.thousands) == (decimal, thousands)
    assert told in table.notes[1]
    as_text = list(table.frame["a"]) if table.frame["a"].dtype.kind != "f" else None
    numbers = table.number_format.parse(as_text) if as_text else table.frame["a"].to_numpy()
    assert (numbers[1:] > numbers[:-1]).all()
    assert float(numbers[1] - numbers[0]) in (1.0, 1e3, 1e6)


def test_dots_of_a_file_with_decimal_commas_separate_thousands(tmp_path: Path) -> None:
    content = "a;b;y\n" + rows(lambda n: f"1.{n + 100}.000,5;1.{n + 200};{n % 2}")
    table = read(tmp_path, content)
    assert table.frame["b"].tolist()[:2] == [1200, 1201]


def test_numbers_with_two_meanings_are_refused(tmp_path: Path) -> None:
    content = "a;y\n" + rows(lambda n: f"{n + 1},234;{n % 2}")
    assert refusal(tmp_path, content) == (
        "data.decimal: '1,234' in column 'a' of t.csv may be 1.234 or 1234: set data.decimal = \",\" or "
        'data.thousands = ","'
    )
    assert read(tmp_path, content, decimal=",").frame["a"][0] == 1.234
    assert read(tmp_path, content, thousands=",").frame["a"][0] == 1234
    mixed = "a;b;y\n" + rows(lambda n: f"{n},5;{n}.25;{n % 2}")
    assert "write numbers in different ways, such as '0,5' in 'a'" in refusal(tmp_path, mixed)


def test_text_that_looks_like_numbers_stays_text(tmp_path: Path) -> None:
    content = "a;y\n" + rows(lambda n: f"12.05.{2000 + n % 5};{n % 2}")
    table = read(tmp_path, content)
    assert table.frame["a"][0] == "12.05.2000"
    assert table.number_format.decimal == "."


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_another_encoding_than_utf8_is_named_with_the_key(tmp_path: Path, encoding: str) -> None:
    content = ("größe,b,y\n" + rows(lambda n: f"{n},{'äö'[n % 2]},{n % 2}")).encode(encoding)
    message = refusal(tmp_path, content)
    assert message.startswith("data: t.csv is not UTF-8")
    assert f'"{encoding}"' in message
    table = read(tmp_path, content, encoding=encoding)
    assert list(table.frame.columns) == ["größe", "b", "y"]
    assert set(table.frame["b"]) == {"ä", "ö"}


def test_a_wrong_byte_is_found_anywhere_and_its_line_named(tmp_path: Path) -> None:
    content = PLAIN.encode() * 1 + b"".join(b"%d,1,0\n" % n for n in range(3000)) + b"1,caf\xe9,0\n"
    assert refusal(tmp_path, content) == (
        f'data: t.csv is not UTF-8 (byte 0xe9 in line {ROWS + 3002:,}): set data.encoding = "cp1252" if '
        "'1,café,0' is how it reads, else to the encoding of the file"
    )
    assert "Python knows no encoding 'utf8000'" in refusal(tmp_path, PLAIN, encoding="utf8000")
    assert "cannot be decoded as ascii" in refusal(tmp_path, "ä,y\n1,2\n", encoding="ascii")


@pytest.mark.parametrize(
    ("written", "stated", "message"),
    [
        (
            "utf-8",
            "cp1252",
            "data.encoding: t.csv is UTF-8, which cp1252 would misread: remove data.enc",
        ),
        ("utf-8-sig", "latin-1", "t.csv is UTF-8, which latin-1 would misread: remove data.encoding"),
        ("utf-16", "cp1252", 't.csv is not cp1252 but UTF-16: set data.encoding = "utf-16"'),
        ("utf-16-be", "utf-16-le", 'is not utf-16-le but UTF-16-BE: set data.encoding = "utf-16-be"'),
        ("utf-16-le", "utf-16", 't.csv is not utf-16 but UTF-16-LE: set data.encoding = "utf-16-le"'),
    ],
)
def test_an_encoding_that_would_misread_the_file_is_refused(
    tmp_path: Path, written: str, stated: str, message: str
) -> None:
    content = ("größe,y\n" + rows(lambda n: f"{n},{n % 2}")).encode(written)
    assert message in refusal(tmp_path, content, encoding=stated)


@pytest.mark.parametrize("stated", ["utf-8", "cp1252"])
def test_a_file_in_two_encodings_is_refused(tmp_path: Path, stated: str) -> None:
    content = ("größe,y\n" + rows(lambda n: f"{n},{n % 2}")).encode() + "1,é\n".encode("cp1252")
    message = f"data: t.csv is UTF-8 in line 1, but not in line {ROWS + 2}: write all of it in UTF-8"
    assert refusal(tmp_path, content, encoding=stated) == message


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    table = read(tmp_path, codecs.BOM_UTF8 + PLAIN.encode())
    assert list(table.frame.columns) == ["a", "b", "y"]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zip", ".zst"])
def test_compressed_files_are_read_by_their_name(tmp_path: Path, suffix: str) -> None:
    packed = compressed(suffix, PLAIN.encode())
    assert read(tmp_path, packed, f"t.csv{suffix}").frame.equals(read(tmp_path, PLAIN).frame)
    assert "t.csv" in refusal(tmp_path, packed[:-9], f"t.csv{suffix}")
    if suffix != ".zip":
        assert refusal(tmp_path, packed) == (
            f"data.root: t.csv cannot be read as CSV: it is compressed: add {suffix} to its name"
        )
    assert "cannot be read" in refusal(tmp_path, PLAIN, f"t.csv{suffix}")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"PAR1\0\0", "t.csv", 'it is a Parquet file: set data.name = "Parquet"'),
        (b"ARROW1\0\0", "t.csv", 'it is a Feather file: set data.name = "Feather"'),
        (b"", "t.parquet", 'set data.name = "Parquet"'),
        (b"PK\x03\x04\0", "t.csv", "an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "t.xls", "an Excel workbook"),
        (b"\n<!DOCTYPE html><html>", "t.csv", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "t.csv", "git lfs pull"),
        (b"a,y\n1,\x002\n\x00", "t.csv", "it is not a text file"),
        (b"", "t.tar.gz", "is an archive: unpack it"),
        (b"", "t.csv", "has no rows"),
        (b"\n \n\n", "t.csv", "has no rows"),
        (b"a,y\n", "t.csv", "has no rows"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes, name: str, message: str) -> None:
    assert message in refusal(tmp_path, content, name)


def test_an_archive_of_two_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("a.csv", PLAIN)
        archive.writestr("b.csv", PLAIN)
    assert "holds 2 files, but must hold one" in refusal(tmp_path, (tmp_path / "t.zip").read_bytes(), "t.zip")


def test_blanks_around_names_and_values_are_removed(tmp_path: Path) -> None:
    table = read(tmp_path, " a ,\tb\xa0, y\n" + rows(lambda n: f" {n} , x{n % 2} , {n % 2}"))
    assert list(table.frame.columns) == ["a", "b", "y"]
    assert set(table.frame["b"]) == {"x0", "x1"}
    assert table.frame["a"].dtype.kind == "i"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_is_read(tmp_path: Path, end: str) -> None:
    assert len(read(tmp_path, PLAIN.replace("\n", end)).frame) == ROWS


START = '# made by hand\n\nname,size,y\n"A, ""the first""\n\nof all",1,0\n# more\n\nB,2,1\n'


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("C,3\n", "t.csv has 2 fields in line 10, but 3 columns"),
        ("C\n", "t.csv has 1 field in line 10, but 3 columns"),
        ("C,3,1,4\n", "t.csv has 4 fields in line 10, but 3 columns"),
        (rows(lambda n: "C,3,1", 2000) + "D,3\n", "t.csv has 2 fields in line 2,010, but 3 columns"),
        (rows(lambda n: "C,3,1", 2000) + "D,3,1,2\n", "t.csv has 4 fields in line 2,010, but 3 columns"),
        ('C,3,"1\n', "t.csv has a quoted field in line 10"),
        ('"C,3,1\n' * 2, "t.csv has a quoted field in line 10 that does not end as it should"),
    ],
)
def test_a_row_that_does_not_fit_is_named_by_the_line_of_the_file(
    tmp_path: Path, end: str, message: str
) -> None:
    assert message in refusal(tmp_path, START + end, comment="#")
    table = read(tmp_path, START + "C,3,1\n", comment="#")
    assert [table.locate(row) for row in range(3)] == ["line 4", "line 9", "line 10"]
    assert table.frame["name"][0] == 'A, "the first"\n\nof all'


def test_double_quotes_that_do_not_enclose_fields(tmp_path: Path) -> None:
    content = "kind\ttext\ty\n" + rows(lambda n: f'ham\t{chr(34) if n == 3 else ""}He said "hi"\t{n % 2}')
    assert "data.quoting = false" in refusal(tmp_path, content)
    table = read(tmp_path, content, quoting=False)
    assert (len(table.frame), table.frame["text"][3]) == (ROWS, '"He said "hi"')
    escaped = "text,y\n" + rows(lambda n: f'"He said \\"hi\\" and, {n}",{n % 2}')
    assert "escapechar" in refusal(tmp_path, escaped.replace("and,", "and"))
    assert read(tmp_path, escaped, escapechar="\\").frame["text"][3] == 'He said "hi" and, 3'
    blanks = "text,y\n" + rows(lambda n: f'"He said ""hi""" ,{n % 2}')
    assert read(tmp_path, blanks).frame["text"][3] == 'He said "hi"'


def test_a_quoted_empty_field_alone_is_a_row(tmp_path: Path) -> None:
    table = read(tmp_path, 'y\n\na\n   \n""\n\nb\n" "\n"c\n\nd"\n""\n')
    assert list(table.frame["y"]) == ["a", "", "b", "", "c\n\nd", ""]
    lines = [table.locate(row) for row in range(6)]
    assert lines == ["line 3", "line 5", "line 7", "line 8", "line 9", "line 12"]


def test_a_line_in_which_excel_declares_the_separator_is_no_header(tmp_path: Path) -> None:
    table = read(tmp_path, "sep=;\n" + PLAIN.replace(",", ";"))
    assert list(table.frame.columns) == ["a", "b", "y"]
    assert (table.locate(0), table.notes) == ("line 3", [])


def test_lines_before_the_header(tmp_path: Path) -> None:
    content = "The title\nmade,today\n" + PLAIN
    assert "if line 3 has the names of the columns, set data.skiprows = 2" in refusal(tmp_path, content)
    table = read(tmp_path, content, skiprows=2)
    assert table.frame.equals(read(tmp_path, PLAIN).frame)
    assert table.locate(0) == "line 4"
    assert 'set data.comment = "#"' in refusal(tmp_path, "# title\n" + PLAIN)
    quoted = "# title\n" + PLAIN + '"1\n# no comment",2,1\n'
    assert read(tmp_path, quoted, comment="#").frame["a"][ROWS] == "1\n# no comment"


def test_columns_without_a_name_or_with_the_same_name(tmp_path: Path) -> None:
    table = read(tmp_path, ",a,a, a ,y,a.1\n" + rows(lambda n: f"{n},1,2,3,{n % 2},4"))
    assert list(table.frame.columns) == ["Unnamed: 0", "a", "a.2", "a.3", "y", "a.1"]
    assert (set(table.unnamed), table.renamed) == ({"Unnamed: 0"}, {"a.2": "a", "a.3": "a"})


def test_a_header_with_one_name_fewer_than_the_rows_have_fields(tmp_path: Path) -> None:
    table = read(tmp_path, "a y\n".replace(" ", "\t") + rows(lambda n: f"r{n}\t{n}\t{n % 2}"))
    assert list(table.frame.columns) == ["Unnamed: 0", "a", "y"]
    assert "the first field names the row" in table.notes[1]
    trailing = read(tmp_path, "a,y\n" + rows(lambda n: f"{n},{n % 2},"))
    assert list(trailing.frame.columns) == ["a", "y", "Unnamed: 2"]


def test_a_file_without_a_header(tmp_path: Path) -> None:
    table = read(tmp_path, rows(lambda n: f"{n},{n % 2}"), header=False)
    assert (list(table.frame.columns), len(table.frame)) == (["0", "1"], ROWS)
    assert table.locate(0) == "line 1"


def test_text_keeps_every_value(tmp_path: Path) -> None:
    values = ["None", "NA", "n/a", "?", "-", "null", "nan", "", "001"]
    table = read(tmp_path, "a,y\n" + "".join(f"{value},{value}\n" for value in values))
    assert table.frame["a"].tolist() == table.frame["y"].tolist() == values


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"sep": ",,"}, r"sep must be one character, or \s+, not ',,'"),
        ({"decimal": ""}, "decimal must be one character, not ''"),
        ({"sep": ",", "decimal": ","}, "sep, decimal and thousands must differ"),
        ({"comment": ""}, "comment must be a text"),
        ({"skiprows": -1}, "skiprows must be a number of lines, not -1"),
        ({"encoding": 8}, "encoding must be a name"),
        ({"na_values": "None"}, "na_values must be a list of texts and numbers, not 'None'"),
        ({"drop": "a"}, "drop must be a list of column names, not 'a'"),
        ({"target": 2019}, 'target must have column names in quotes, such as "2019"'),
        ({"escapechar": "//"}, "escapechar must be one character"),
        ({"sep": r"\s+", "quoting": False}, "quoting and escapechar need a sep of one character"),
        ({"drop": ["y"]}, "'y' is in both drop and target"),
        ({"dates": ["a"], "categorical": ["a"]}, "'a' is in both dates and categorical"),
    ],
)
def test_options_that_cannot_be(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        CSV(**{"target": "y", **keys})
    assert message in str(caught.value)


@pytest.mark.parametrize(("kind", "name"), [(Parquet, "parquet"), (Feather, "feather")])
def test_parquet_and_feather_keep_their_types(tmp_path: Path, kind: Any, name: str) -> None:
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(
        {
            "number": [1.5, None, 3.0],
            "whole": pandas.array([1, None, 3], dtype="Int64"),
            "flag": [True, False, True],
            "maybe": pandas.array([True, None, False], dtype="boolean"),
            "text": ["None", None, "x"],
            "kind": pandas.Categorical(["b", "a", "b"]),
            "when": pandas.to_datetime(["2021-03-04", None, "2021-03-05"]),
            "list": [[1], [2], None],
            "y": [0, 1, 0],
        }
    )
    path = tmp_path / f"t.{name}"
    getattr(frame, f"to_{name}")(path)
    table = read_table(path, kind(target="y"))
    kinds = {column: table.frame[column].dtype.kind for column in table.frame.columns}
    assert [kinds[column] for column in ("number", "whole", "flag", "maybe", "when", "y")] == list("ffbfMi")
    assert table.frame["text"].tolist()[::2] == ["None", "x"]
    assert table.frame["text"].isna().tolist() == [False, True, False]
    assert table.frame["kind"].tolist() == ["b", "a", "b"]
    assert table.locate(1) == "row 2"
    assert table.unusable == {"list": "ndarray"}
    path.write_bytes(b"a,y\n1,2\n")
    with pytest.raises(DataError, match=f"cannot be read as {kind.__name__}"):
        read_table(path, kind(target="y"))


def parquet(folder: Path, index: Any) -> Table:
    frame = pandas.DataFrame({"a": [5, 6, 7], "y": [0, 1, 0]}, index=index)
    frame.to_parquet(folder / "t.parquet")
    return read_table(folder / "t.parquet", Parquet(target="y"))


@pytest.mark.parametrize("gap", [False, True])
def test_whole_decimals_of_a_database_keep_their_digits_as_labels(tmp_path: Path, gap: bool) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    wholes: list[Decimal | None] = [Decimal(2**60 + number % 3) for number in range(ROWS)]
    few: list[Decimal | None] = [Decimal([1, 3, 7][number % 3]) for number in range(ROWS)]
    for values, classes in ((wholes, [str(2**60 + n) for n in range(3)]), (few, ["1", "3", "7"])):
        values[0] = None if gap else values[0]
        table = pyarrow.table({"x": list(range(ROWS)), "y": pyarrow.array(values)})
        parquet.write_table(table, tmp_path / "t.parquet")
        data = load("Parquet", root=str(tmp_path / "t.parquet"), target="y", missing="drop")
        assert data.spec.class_names == classes


def test_labels_that_are_truth_values_are_called_alike_beside_gaps(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for gap in (False, True):
        values = [None if gap and not n else n % 3 == 0 for n in range(ROWS)]
        frame = pandas.DataFrame({"x": range(ROWS), "y": pandas.array(values, dtype="boolean")})
        frame.to_parquet(tmp_path / "t.parquet")
        data = load("Parquet", root=str(tmp_path / "t.parquet"), target="y", missing="drop")
        assert data.spec.class_names == ["False", "True"]


@pytest.mark.parametrize(
    "index",
    [
        pandas.Index(["p", "q", "r"]),
        pandas.Index([4, 0, 9]),
        pandas.date_range("2021-01-01", periods=3),
        pandas.MultiIndex.from_tuples([("p", 1), ("p", 2), ("q", 1)]),
    ],
)
def test_an_index_without_a_name_is_left_out_with_a_note(tmp_path: Path, index: Any) -> None:
    pytest.importorskip("pyarrow")
    table = parquet(tmp_path, index)
    assert list(table.frame.columns) == ["a", "y"]
    (note,) = table.notes
    assert note.startswith("the index of t.parquet (such as ")
    assert 'has no name and is not used; to use it, write the file from frame.rename_axis("name")' in note


def test_an_index_that_only_counts_is_left_out_and_a_named_one_is_a_column(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert parquet(tmp_path, None).notes == []
    table = parquet(tmp_path, pandas.Index([3, 1, 2], name="id"))
    assert (list(table.frame.columns), table.notes) == (["id", "a", "y"], [])


def test_an_index_with_the_name_of_a_column_is_refused_unless_it_is_a_copy(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    copy = parquet(tmp_path, pandas.Index([5, 6, 7], name="a"))
    assert (list(copy.frame.columns), copy.notes) == (["a", "y"], [])
    with pytest.raises(DataError, match=r"are both called 'a'; rename one of them, as with frame"):
        parquet(tmp_path, pandas.Index([1, 2, 3], name="a"))
    levels = pandas.MultiIndex.from_tuples([("p", 1), ("p", 2), ("q", 1)], names=["k", "k"])
    with pytest.raises(DataError, match="several index levels called 'k'"):
        parquet(tmp_path, levels)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "t.parquet", Parquet(target="y"))
    assert "requires pyarrow: pip install 'torchconsole[tables]'" in str(caught.value)
    assert "torchconsole[tables]" in refusal(tmp_path, b"\x28\xb5\x2f\xfd", "t.csv.zst")
