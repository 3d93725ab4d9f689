"""What the columns of a table become: numbers, categories, dates, targets, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch

from tests.support.data_files import all_of, load
from torchconsole.engine.components.data import DataModule
from torchconsole.engine.errors import ComponentError, DataError

ROWS = 40


def csv(folder: Path, header: str, line: Callable[[int], str], count: int = ROWS, **keys: Any) -> DataModule:
    path = folder / "t.csv"
    path.write_text(f"{header}\n" + "".join(f"{line(number)}\n" for number in range(count)))
    return load("CSV", root=str(path), **{"target": "y", **keys})


def roles(data: DataModule) -> dict[str, tuple[str, str]]:
    return {column.name: (column.role, column.detail) for column in data.columns}


def refusal(folder: Path, header: str, line: Callable[[int], str], **keys: Any) -> str:
    with pytest.raises((DataError, ComponentError)) as caught:
        csv(folder, header, line, **keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("gap", ["", "?", "-", "NA", "None", "n/a", "NaN", "null", ".", "#N/A", "#DIV/0!"])
def test_a_gap_among_numbers_is_a_missing_value(tmp_path: Path, gap: str) -> None:
    def line(n: int) -> str:
        return f"{gap if n == 3 else n * 7 % 31 + 0.5},{n % 2}"

    assert "has 1 missing value in column 'a', the first in line 5" in refusal(tmp_path, "a,y", line)
    data = csv(tmp_path, "a,y", line, missing="mean")
    assert roles(data)["a"] == ("numeric", "0.5 to 30.5; 1 missing")
    assert all_of(data.train)[0].isfinite().all()


def test_in_a_category_or_a_label_they_are_values_like_any_other(tmp_path: Path) -> None:
    values = ["None", "?", "NA", "-", "n/a"]

    def line(n: int) -> str:
        return f"{n * 7 % 31},{values[n % 5]},{values[n % 3]}"

    data = csv(tmp_path, "a,quality,y", line)
    assert data.spec.class_names == ["?", "NA", "None"]
    assert roles(data)["quality"] == ("categorical", "5 values: -, ?, NA, None, n/a")
    assert data.spec.input_shape == (1 + 5,)

    data = csv(tmp_path, "a,quality,y", line, na_values=["None", "-"], missing="drop")
    assert data.spec.class_names == ["?", "NA"]
    assert roles(data)["quality"][1].startswith("3 values: ?, NA, n/a")


def test_na_values_apply_to_every_column(tmp_path: Path) -> None:
    data = csv(
        tmp_path,
        "a,b,y",
        lambda n: f"{-999 if n == 3 else n * 7 % 31},{'unknown' if n % 4 else 'x' + str(n % 3)},{n % 2}",
        na_values=[-999, "unknown"],
        missing="mean",
    )
    assert roles(data)["a"] == ("numeric", "0 to 30; 1 missing")
    assert roles(data)["b"] == ("categorical", "3 values: x0, x1, x2; 30 missing")


def test_other_texts_among_numbers_are_refused_or_told(tmp_path: Path) -> None:
    message = refusal(tmp_path, "a,y", lambda n: f"{'abc' if n == 3 else n},{n % 2}")
    assert "column 'a' has numbers, but also 'abc' (the first one in line 5)" in message
    assert message.endswith(
        'set data.na_values = ["abc"] and data.missing = "drop", or data.drop = ["a"] to leave it out'
    )
    message = refusal(tmp_path, "a;y", lambda n: f"{'7.5' if n == 3 else f'{n},5'};{n % 2}")
    assert (
        "has numbers, but also '0,5', '1,5', '2,5', '4,5', '5,5' and 34 more (the first one in line 2)"
        in message
    )
    assert "which is a number in another form (write all of them alike)" in message
    assert message.endswith('set data.categorical = ["a"], or data.drop = ["a"] to leave it out')
    data = csv(tmp_path, "a,y", lambda n: f"{'3+' if n % 4 == 3 else n % 4},{n % 2}")
    assert roles(data)["a"] == ("categorical", "4 values: 0, 1, 2, 3+")
    assert any("column 'a' has numbers and other values ('3+')" in note for note in data.notes)


@pytest.mark.parametrize(
    ("value", "detail", "remedy"),
    [
        (lambda n: f"({n}.5)" if n % 3 == 0 else n, "has numbers, but also '(0.5)'", "categorical"),
        (lambda n: f"{n} %", "has numbers with a unit, such as '0 %'", ""),
        (lambda n: f"${n},000.5", "has numbers with a unit, such as '$0,000.5'", ""),
        (lambda n: "?" if n == 3 else f"2021-03-01 10:{n:02d}", "has dates, such as", "dates"),
    ],
)
def test_numbers_and_dates_in_other_forms_are_not_left_out(
    tmp_path: Path, value: Callable[[int], object], detail: str, remedy: str
) -> None:
    message = refusal(tmp_path, "a,b,y", lambda n: f'{n * 7 % 31},"{value(n)}",{n % 2}')
    assert f"column 'b' {detail}" in message
    assert (f'set data.{remedy} = ["b"], or' if remedy else 'set data.drop = ["b"]') in message


def test_whole_numbers_of_any_size_are_numbers(tmp_path: Path) -> None:
    data = csv(tmp_path, "a,y", lambda n: f"{10**25 + n % 7 * 10**20},{n % 2}")
    assert roles(data)["a"] == ("numeric", "1e+25 to 1.00006e+25")
    assert "infinite or too large" in refusal(tmp_path, "a,y", lambda n: f"{'inf' if n == 3 else n},{n % 2}")


def test_booleans_are_numbers(tmp_path: Path) -> None:
    data = csv(
        tmp_path,
        "a,b,y",
        lambda n: f"{n % 3 == 0},{'' if n == 3 else str(n % 5 == 0).lower()},{n % 2 == 0}",
        missing="mean",
        normalize="none",
    )
    assert data.spec.class_names == ["False", "True"]
    assert set(all_of(data.train)[0][:, 0].tolist()) == {0.0, 1.0}
    assert roles(data)["b"] == ("numeric", "0 to 1; 1 missing")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("", lambda n: n, "identifies the row (0 to 39)"),
        ("PassengerId", lambda n: n + 1, "identifies the row (1 to 40)"),
        ("row_number", lambda n: ROWS - n, "identifies the row (1 to 40)"),
        ("customer_id", lambda n: 15_000_000 + n * n, "identifies the row (15000000 to 15001521)"),
        ("name", lambda n: f"Person {n}", "has another text in each row (such as 'Person 0')"),
        ("uuid", lambda n: f"{n * 7919:08x}-aa", "has another text in each row (such as '00000000-aa')"),
        ("unit", lambda n: "cm", "is always 'cm'"),
        ("version", lambda n: 2, "is always 2"),
        ("notes", lambda n: "", "has no values"),
    ],
)
def test_a_column_that_tells_nothing_is_left_out_and_told(
    tmp_path: Path, name: str, value: Callable[[int], object], why: str
) -> None:
    data = csv(tmp_path, f"{name},a,y", lambda n: f"{value(n)},{n * 7 % 31},{n % 2}")
    shown = name or "Unnamed: 0"
    assert roles(data)[shown] == ("dropped", why)
    assert data.spec.input_shape == (1,)
    assert f'columns that are not used: {shown!r} {why} (data.drop = ["{shown}"])' in data.notes
    told = csv(tmp_path, f"{name},a,y", lambda n: f"{value(n)},{n * 7 % 31},{n % 2}", drop=[shown])
    assert roles(told)[shown] == ("dropped", "data.drop")
    assert not any(shown in note for note in told.notes)


def test_a_column_that_counts_but_is_called_otherwise_is_used_and_told(tmp_path: Path) -> None:
    data = csv(tmp_path, "day,a,y", lambda n: f"{n},{n * 7 % 31},{n % 2}", drop=["a"])
    assert roles(data)["day"][0] == "numeric"
    note = 'column \'day\' counts the rows (0 to 39); to leave it out, set data.drop = ["a", "day"]'
    assert note in data.notes
    named = csv(tmp_path, "id,a,y", lambda n: f"{n},{n * 7 % 31},{n % 2}", features=["id"])
    assert named.spec.input_shape == (1,)


def test_leading_zeros_are_told(tmp_path: Path) -> None:
    data = csv(tmp_path, "zip,y", lambda n: f"{n * 7 % 31:05d},{n % 2}")
    assert any("column 'zip' has leading zeros ('00000')" in note for note in data.notes)
    data = csv(tmp_path, "zip,y", lambda n: f"{n % 3:05d},{n % 2}", categorical=["zip"])
    assert roles(data)["zip"] == ("categorical", "3 values: 00000, 00001, 00002")


def test_columns_that_need_a_decision_are_refused_together(tmp_path: Path) -> None:
    def line(n: int) -> str:
        return f"S{n // 2},2021-03-{n % 25 + 1:02d},{n * 100 % 3000},{n % 25}%,{n % 2}"

    message = refusal(tmp_path, "surname,day,a,share,y", line, drop=["a"])
    assert "column 'surname' has 20 different" not in message
    assert "column 'day' has dates, such as '2021-03-01'" in message
    assert "column 'share' has numbers with a unit, such as '0%'" in message
    assert message.endswith(
        'set data.dates = ["day"], or data.drop = ["a", "day", "share"] to leave them out'
    )
    message = refusal(tmp_path, "surname,y", lambda n: f"S{n * 2 // 3},{n % 2}")
    assert "column 'surname' has 27 different texts in 40 rows (such as 'S0'), too many" in message
    assert message.endswith('set data.categorical = ["surname"], or data.drop = ["surname"] to leave it out')
    data = csv(tmp_path, "surname,y", lambda n: f"S{n * 2 // 3},{n % 2}", categorical=["surname"])
    assert data.spec.input_shape == (27,)


def test_several_columns_of_the_same_name(tmp_path: Path) -> None:
    data = csv(tmp_path, "a,a,y", lambda n: f"{n * 7 % 31},{n * 5 % 31},{n % 2}")
    assert data.spec.input_shape == (2,)
    note = "several columns are called 'a'; one of them is called 'a.1' here"
    assert f'{note}; to leave it out, set data.drop = ["a.1"]' in data.notes
    message = refusal(tmp_path, "y,a,y", lambda n: f"{n % 2},{n * 5 % 31},{n % 2}")
    assert (
        "has several columns called 'y'; the first one is the target: to leave out the other, set" in message
    )


def test_a_copy_of_the_target_is_told(tmp_path: Path) -> None:
    data = csv(tmp_path, "alive,a,y", lambda n: f"{['no', 'yes'][n % 3 % 2]},{n * 5 % 31},{n % 3 % 2}")
    note = "column 'alive' gives the target away: each of its values goes with one value of 'y'"
    assert any(found.startswith(note) and 'data.drop = ["alive"]' in found for found in data.notes)
    data = csv(tmp_path, "cents,a,y", lambda n: f"{n * n % 101}50,{n * 5 % 31},{n * n % 101}.5")
    assert any("column 'cents' gives the target away" in found for found in data.notes)
    data = csv(tmp_path, "b,a,y", lambda n: f"{n % 3},{n * 5 % 31},{n % 2}")
    assert not any("gives the target away" in found for found in data.notes)


DAY = "2021-03-04 01:02:03"
PARTS = [2021.0, 3.0, 4.0, 3.0, 3723.0]


@pytest.mark.parametrize(
    ("written", "others", "keys", "parts"),
    [
        (DAY, "2020-12-31 23:59:59", {}, PARTS),
        ("2021-03-04T01:02:03Z", "2020-12-31T23:59:59Z", {}, PARTS),
        ("2021-03-04T03:02:03+02:00", "2020-12-31T23:59:59+01:00", {}, PARTS),
        ("04.03.2021 01:02", "31.12.2020 23:59", {}, [*PARTS[:4], 3720.0]),
        ("3/4/2021", "12/31/2020", {}, [*PARTS[:4], 0.0]),
        ("4/3/2021", "31/12/2020", {}, [*PARTS[:4], 0.0]),
        ("04-Mar-2021", "31-Dec-2020", {}, [*PARTS[:4], 0.0]),
        ("20210304", "20201231", {}, [*PARTS[:4], 0.0]),
        ("1614819723", "1609459199", {}, PARTS),
        ("1614819723000", "1609459199000", {}, PARTS),
        ("2021 4 mar", "2020 31 dec", {"date_format": "%Y %d %b"}, [*PARTS[:4], 0.0]),
    ],
)
def test_dates_become_numbers(
    tmp_path: Path, written: str, others: str, keys: dict[str, Any], parts: list[float]
) -> None:
    data = csv(
        tmp_path,
        "when,y",
        lambda n: f"{written if n < 20 else others},{n % 2}",
        dates=["when"],
        normalize="none",
        **keys,
    )
    assert roles(data)["when"][0] == "date"
    inputs = torch.cat([all_of(data.train)[0], all_of(data.val)[0]])
    assert any(row.tolist() == parts for row in inputs)
    assert {row[0].item() for row in inputs} == {2020.0, 2021.0}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("03/04/2021", 'may be two dates; set data.date_format = "%d/%m/%Y" or "%m/%d/%Y"'),
        ("yesterday", "'yesterday' in column 'when' of t.csv is no date in one of the usual forms"),
        ("17", "has numbers such as '17', which are no dates"),
    ],
)
def test_dates_that_cannot_be_read_are_refused(tmp_path: Path, written: str, message: str) -> None:
    assert message in refusal(tmp_path, "when,y", lambda n: f"{written},{n % 2}", dates=["when"])


def test_a_text_among_dates_is_named(tmp_path: Path) -> None:
    def line(n: int) -> str:
        return f"{'0000-00-00' if n == 4 else DAY},{n % 2}"

    message = refusal(tmp_path, "when,y", line, dates=["when"])
    assert f"'0000-00-00' in column 'when' of t.csv is not written like {DAY!r}" in message
    assert 'set data.na_values = ["0000-00-00"]' in message
    message = refusal(tmp_path, "when,y", line, dates=["when"], date_format="%Y-%m-%d %H:%M:%S")
    assert "'%Y-%m-%d %H:%M:%S' does not fit '0000-00-00'" in message
    data = csv(tmp_path, "when,y", line, dates=["when"], na_values=["0000-00-00"], missing="drop")
    assert data.train.samples_per_epoch + data.val.samples == ROWS - 1


def test_a_missing_date_is_a_gap(tmp_path: Path) -> None:
    data = csv(
        tmp_path, "when,y", lambda n: f"{'NA' if n == 4 else DAY},{n % 2}", dates=["when"], missing="mean"
    )
    assert roles(data)["when"][1].endswith("; 1 missing")


@pytest.mark.parametrize(
    ("value", "keys", "task", "names"),
    [
        (lambda n: n % 2, {}, "multiclass", ["0", "1"]),
        (lambda n: float(n % 2), {}, "multiclass", ["0", "1"]),
        (lambda n: n % 5 + 1, {}, "multiclass", ["1", "2", "3", "4", "5"]),
        (lambda n: f"{n % 3:02d}", {}, "multiclass", ["00", "01", "02"]),
        (lambda n: (10, 9, 100)[n % 3], {}, "multiclass", ["9", "10", "100"]),
        (lambda n: ("yes", "no")[n % 2], {"task": "binary"}, "binary", ["no", "yes"]),
        (lambda n: n % 5 + 1, {"task": "regression"}, "regression", []),
        (lambda n: n / 4, {}, "regression", []),
        (lambda n: n % 5 * 250.0 + 3000, {}, "regression", []),
        (lambda n: n * 25.0, {}, "regression", []),
        (lambda n: float(n % 5 + 1), {}, "multiclass", ["1", "2", "3", "4", "5"]),
        (lambda n: ("1", "2", "many")[n % 3], {}, "multiclass", ["1", "2", "many"]),
    ],
)
def test_labels_and_amounts(
    tmp_path: Path, value: Callable[[int], object], keys: dict[str, Any], task: str, names: list[str]
) -> None:
    spec = csv(tmp_path, "a,y", lambda n: f"{n * 7 % 31},{value(n)}", **keys).spec
    assert (spec.task, spec.class_names) == (task, names)


@pytest.mark.parametrize("task", ["auto", "regression"])
def test_an_infinite_target_is_refused(tmp_path: Path, task: str) -> None:
    message = refusal(tmp_path, "a,y", lambda n: f"{n * 7 % 31},{'inf' if n == 3 else n % 5}", task=task)
    assert "column 'y' of t.csv has a value in line 5 that is infinite or too large" in message


def test_a_target_says_what_it_is(tmp_path: Path) -> None:
    data = csv(tmp_path, "a,y", lambda n: f"{n * 7 % 31},{n}.5")
    assert roles(data)["y"] == ("target", "0.5 to 39.5, mean 20, std 11.5434; standardized")
    data = csv(tmp_path, "a,y", lambda n: f"{n * 7 % 31},{'ab'[n % 2]}")
    assert roles(data)["y"] == ("target", "2 classes: a, b")
    assert "39 different values" in refusal(tmp_path, "a,y", lambda n: f"{n * 7 % 31},{n % 39}")


def test_numbers_keep_their_digits_until_they_are_standardized(tmp_path: Path) -> None:
    def line(n: int) -> str:
        return f"{1_600_000_000 + n * n},{n % 2}"

    data = csv(tmp_path, "time,y", line, seed=3)
    inputs = torch.cat([all_of(data.train)[0], all_of(data.val)[0]]).flatten()
    squares = torch.tensor([float(n * n) for n in range(ROWS)], dtype=torch.float64)
    steps = inputs.sort().values.double().diff() / squares.diff()
    assert torch.allclose(steps, steps.mean().expand_as(steps), rtol=1e-4)
    assert data.measured is not None

    # A resume is given what was measured, and prepares the same bits.
    given = csv(tmp_path, "time,y", line, seed=3, normalize=data.measured.model_dump())
    assert torch.equal(all_of(given.train)[0], all_of(data.train)[0])
    assert given.measured is None


def test_arrays_and_user_datasets_keep_their_digits_too(tmp_path: Path) -> None:
    import numpy as np

    times = 1.6e9 + np.arange(ROWS, dtype=np.float64)[:, None] ** 2
    np.savez(tmp_path / "t.npz", inputs=times, targets=np.arange(ROWS) % 2)
    data = load("NPZ", root=str(tmp_path / "t.npz"))
    assert len(all_of(data.train)[0].unique()) == 32


def test_a_category_outside_the_training_set_is_ignored(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"val_split": 10, "stratify": False, "normalize": "none"}
    known = csv(tmp_path, "a,y", lambda n: f"{'xz'[n % 2]},{n // 2 % 2}", **keys)
    assert not any("ignored" in note for note in known.notes)
    for odd in range(ROWS):  # whichever row is in the validation set
        data = csv(
            tmp_path, "a,y", lambda n, odd=odd: f"{'xz'[n % 2] if n != odd else 'w'},{n // 2 % 2}", **keys
        )
        if any("1 category is not in the training set, and ignored" in note for note in data.notes):
            assert not all_of(data.val)[0][:, 0].any()
            return
    pytest.fail("no row of the table is in the validation set")


PENGUINS = """species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex
Adelie,Torgersen,39.1,18.7,181.0,3750.0,Male
Adelie,Torgersen,39.5,17.4,186.0,3800.0,Female
Adelie,Torgersen,,,,,
Gentoo,Biscoe,46.1,13.2,211.0,4500.0,Female
Gentoo,Biscoe,50.0,16.3,230.0,5700.0,Male
Chinstrap,Dream,46.5,17.9,192.0,3500.0,Female
Chinstrap,Dream,50.0,19.5,196.0,3900.0,Male
"""

TITANIC = """survived,pclass,sex,age,sibsp,parch,fare,embarked,class,who,adult_male,deck,\
embark_town,alive,alone
0,3,male,22.0,1,0,7.25,S,Third,man,True,,Southampton,no,False
1,1,female,38.0,1,0,71.2833,C,First,woman,False,C,Cherbourg,yes,False
1,3,female,26.0,0,0,7.925,S,Third,woman,False,,Southampton,yes,True
0,3,male,,0,0,8.4583,Q,Third,man,True,,Queenstown,no,True
1,1,female,35.0,1,0,53.1,S,First,woman,False,C,Southampton,yes,False
1,1,female,38.0,0,0,80.0,,First,woman,False,B,,yes,True
"""

DIAMONDS = """carat,cut,color,clarity,depth,table,price,x,y,z
0.23,Ideal,E,SI2,61.5,55.0,326,3.95,3.98,2.43
0.21,Premium,E,SI1,59.8,61.0,326,3.89,3.84,2.31
0.29,Premium,I,VS2,62.4,58.0,334,4.2,4.23,2.63
0.31,Good,J,SI2,63.3,58.0,335,4.34,4.35,2.75
1.01,Very Good,F,VVS2,61.9,57.0,7541,6.4,6.42,3.97
"""

MPG = """mpg,cylinders,displacement,horsepower,weight,acceleration,model_year,origin,name
18.0,8,307.0,130,3504,12.0,70,usa,chevrolet chevelle malibu
15.0,8,350.0,165,3693,11.5,70,usa,buick skylark 320
25.0,4,98.0,,2046,19.0,71,usa,ford pinto
24.0,4,113.0,95,2372,15.0,70,japan,toyota corona mark ii
26.0,4,97.0,46,1835,20.5,70,europe,volkswagen 1131 deluxe sedan
"""

TAXIS = """pickup,dropoff,passengers,distance,fare,tip,tolls,total,color,payment,pickup_zone,dropoff_zone,\
pickup_borough,dropoff_borough
2019-03-23 20:21:09,2019-03-23 20:27:24,1,1.6,7.0,2.15,0.0,12.95,yellow,credit card,Lenox Hill West,\
UN/Turtle Bay South,Manhattan,Manhattan
2019-03-04 16:11:55,2019-03-04 16:19:00,1,0.79,5.0,0.0,0.0,9.3,yellow,cash,Upper West Side South,\
Upper West Side South,Manhattan,Manhattan
2019-03-27 17:53:01,2019-03-27 18:00:25,1,1.37,7.5,2.36,0.0,14.16,green,,Alphabet City,West Village,\
Manhattan,Manhattan
2019-03-10 01:23:59,2019-03-10 01:49:51,3,7.7,27.0,6.15,5.76,36.95,yellow,credit card,Hudson Sq,\
,Brooklyn,
"""


@pytest.mark.parametrize(
    ("content", "keys", "dropped", "inputs", "task"),
    [
        (PENGUINS, {"target": "species"}, "", 4 + 3 + 2, "multiclass"),
        (PENGUINS, {"target": "body_mass_g"}, "", 3 + 3 + 3 + 2, "regression"),
        (
            TITANIC,
            {"target": "survived", "drop": ["alive"]},
            "parch",
            6 + 2 + 3 + 2 + 2 + 2 + 3,
            "multiclass",
        ),
        (TITANIC, {"target": "alive", "task": "binary"}, "parch", 7 + 2 + 3 + 2 + 2 + 2 + 3, "binary"),
        (DIAMONDS, {"target": "price", "task": "regression"}, "", 6 + 4 + 4 + 4, "regression"),
        (MPG, {"target": "mpg", "task": "regression"}, "", 6 + 3 + 5, "regression"),
        (
            TAXIS,
            {"target": "fare", "dates": ["pickup", "dropoff"]},
            "",
            10 + 5 + 2 + 2 + 4 + 3 + 2 + 1,
            "regression",
        ),
    ],
)
def test_well_known_tables(
    tmp_path: Path, content: str, keys: dict[str, Any], dropped: str, inputs: int, task: str
) -> None:
    header, *lines = content.splitlines()
    path = tmp_path / "t.csv"
    path.write_text("\n".join([header, *(lines * 12)]) + "\n")
    data = load("CSV", root=str(path), missing="mean", **keys)
    assert data.spec.task == task
    assert data.spec.input_shape == (inputs,)
    assert all(batch.isfinite().all() for batch in all_of(data.train))
    for name in filter(None, dropped.split()):
        assert roles(data)[name][0] == "dropped"


def test_a_table_of_real_size_drops_its_names(tmp_path: Path) -> None:
    header, *lines = MPG.splitlines()
    numbered = [re.sub(r",([^,]+)$", rf",\1 {n}", lines[n % 5]) for n in range(60)]
    (tmp_path / "t.csv").write_text("\n".join([header, *numbered]))
    data = load("CSV", root=str(tmp_path / "t.csv"), target="mpg", missing="mean")
    assert roles(data)["name"] == (
        "dropped",
        "has another text in each row (such as 'buick skylark 320 1')",
    )


@pytest.mark.parametrize(
    ("write", "reason", "remedy"),
    [
        (lambda n: f"2021-03-{1 + n % 9:02d}", "has dates, such as '2021-03-01'", "data.dates"),
        (lambda n: f"{n % 4}0 %", "has numbers with a unit, such as '00 %'", "data.categorical"),
        (lambda n: f"{n % 12} kg", "has numbers with a unit, such as '0 kg'", "data.categorical"),
    ],
)
def test_a_few_different_dates_or_units_are_not_silently_categories(
    tmp_path: Path, write: Callable[[int], str], reason: str, remedy: str
) -> None:
    message = refusal(tmp_path, "a,x,y", lambda n: f"{n * 7 % 31},{write(n)},{n % 2}")
    assert reason in message
    assert f'{remedy} = ["x"]' in message
    data = csv(tmp_path, "a,x,y", lambda n: f"{n * 7 % 31},{write(n)},{n % 2}", categorical=["x"])
    assert roles(data)["x"][0] == "categorical"


@pytest.mark.parametrize("values", [["18-24", "25-34", "65+"], ["4x4", "4x2"], ["1st", "2nd", "3rd"]])
def test_texts_with_digits_are_categories(tmp_path: Path, values: list[str]) -> None:
    data = csv(tmp_path, "a,x,y", lambda n: f"{n * 7 % 31},{values[n % len(values)]},{n % 2}")
    assert roles(data)["x"][0] == "categorical"


def test_numbers_that_a_file_declares_as_categories_stay_categories(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = range(ROWS)
    frame = pandas.DataFrame(
        {
            "a": [n * 7 % 31 for n in rows],
            "zone": pandas.Categorical([(10, 2, 30)[n % 3] for n in rows]),
            "y": pandas.Categorical([(1.5, 2.5)[n % 2] for n in rows]),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    data = load("Parquet", root=str(tmp_path / "t.parquet"), target="y")
    assert roles(data)["zone"] == ("categorical", "3 values: 2, 10, 30")
    assert (data.spec.task, data.spec.class_names) == ("multiclass", ["1.5", "2.5"])
    data = load("Parquet", root=str(tmp_path / "t.parquet"), target="y", task="regression")
    assert data.spec.num_outputs == 1
