"""What a message advises is accepted when one follows it literally."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.data_files import load
from tests.support.remedies import follow, remedies
from tests.support.table_files import refusal, roles, write
from torchconsole.engine.errors import DataError


@pytest.mark.parametrize(
    ("name", "value", "keys"),
    [
        ("day", lambda n: n, {}),
        ("day", lambda n: n, {"features": ["day", "a"]}),
        ("id", lambda n: n, {"features": ["id", "a"]}),
        ("", lambda n: n * 7 % 40, {"features": ["Unnamed: 0", "a"]}),
        ("copy", lambda n: ["no", "yes"][n % 2], {"features": ["copy", "a"]}),
        ("copy", lambda n: n % 2, {"categorical": ["copy"]}),
        ("copy", lambda n: n % 2, {"categorical": ["copy"], "features": ["copy", "a"]}),
        ("a", lambda n: n * 5 % 31, {}),
        ("a", lambda n: n * 5 % 31, {"features": ["a", "a.1"]}),
    ],
)
def test_what_leaves_out_a_column_that_is_told(
    tmp_path: Path, name: str, value: Callable[[int], object], keys: dict[str, Any]
) -> None:
    keys = write(tmp_path, f"{name},a,y", lambda n: f"{value(n)},{n * 7 % 31},{n % 2}") | keys
    (note,) = (note for note in load("CSV", **keys).notes if "to leave it out, " in note)
    actions = [action for action in ("drop", "remove") if f"{action} " in note]
    followed = follow(note, keys, *actions)
    assert load("CSV", **followed).spec.input_shape == (1,)


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (lambda n: f"S{n * 2 // 3}", {"features": ["b", "a"]}),
        (lambda n: f"{n} %", {"features": ["b", "a"]}),
        (lambda n: f"2021-03-{n % 28 + 1:02d}", {"features": ["b", "a"]}),
        (lambda n: "yesterday", {"dates": ["b"]}),
        (lambda n: "yesterday", {"dates": ["b"], "features": ["b", "a"]}),
        (lambda n: f"S{n * 2 // 3}", {}),
    ],
)
def test_what_leaves_out_a_column_that_is_refused(
    tmp_path: Path, value: Callable[[int], object], keys: dict[str, Any]
) -> None:
    keys = write(tmp_path, "b,a,y", lambda n: f"{value(n)},{n * 7 % 31},{n % 2}") | keys
    message = refusal(keys)
    actions = [action for action in ("drop", "remove") if f"{action} " in message]
    assert load("CSV", **follow(message, keys, *actions)).spec.input_shape == (1,)


def test_gaps_are_added_to_those_that_are_set(tmp_path: Path) -> None:
    some = {3: "abc", 5: "x"}
    others = {4: "w1", 6: "w2", 8: "w3", 9: "w4", 10: "w5", 11: "w6", 12: "x"}
    keys = write(tmp_path, "b,c,y", lambda n: f"{some.get(n, n * 7 % 31)},{others.get(n, n % 5)},{n % 2}")
    keys["na_values"] = ["x"]
    message = refusal(keys)
    data = load("CSV", **(followed := follow(message, keys, "na_values", "missing")))
    (note,) = (note for note in data.notes if "numbers and other values" in note)
    assert roles(load("CSV", **follow(note, followed, "na_values")))["c"][0] == "numeric"


@pytest.mark.parametrize("keys", [{}, {"task": "regression"}])
@pytest.mark.parametrize("words", [["unknown"], ["unknown", "pending", "n.b."]])
def test_words_among_amounts_to_predict_are_named(
    tmp_path: Path, keys: dict[str, Any], words: list[str]
) -> None:
    keys = keys | write(
        tmp_path, "a,y", lambda n: f"{n * 7 % 31},{words[n % len(words)] if n in (5, 9, 10) else n * 1.5}"
    )
    message = refusal(keys)
    assert "column 'y' of t.csv has numbers, but also" in message
    data = load("CSV", **follow(message, keys, "na_values", "missing"))
    assert data.spec.task == "regression"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda n: f"{n} %", "they are numbers with a unit: remove the unit from the file"),
        (lambda n: f"{n},5 EUR", "they are numbers with a unit: remove the unit from the file"),
        (lambda n: f"2021-03-01 10:{n:02d}", "they are dates, which cannot be predicted"),
    ],
)
@pytest.mark.parametrize("task", ["auto", "regression"])
def test_targets_in_other_forms_are_named(
    tmp_path: Path, value: Callable[[int], str], reason: str, task: str
) -> None:
    keys = write(tmp_path, "a;y", lambda n: f"{n * 7 % 31};{value(n)}")
    assert reason in refusal(keys | {"task": task})


CELLS: list[Callable[[Random, int], object]] = [
    lambda random, n: f"{random.randint(1, 99)},5",
    lambda random, n: f"{random.randint(1, 99)}.{random.randint(100, 999)}",
    lambda random, n: f"{random.randint(1, 28):02d}.{random.randint(1, 12):02d}.2023",
    lambda random, n: 20230000 + random.randint(1, 12) * 100 + random.randint(1, 28),
    lambda random, n: f"{random.randint(0, 99)} %",
    lambda random, n: 10**18 + n,
    lambda random, n: f"{random.randint(1, 50)}{random.choice('kM')}",
    lambda random, n: random.choice("abc"),
]


@pytest.mark.parametrize("seed", range(16))
def test_one_remedy_after_another_leads_to_a_table_that_is_accepted(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    columns = random.sample(CELLS, 3)
    words = random.sample(["", "k.A.", "unknown", "?"], 2)

    def cell(column: Callable[[Random, int], object], n: int) -> object:
        return random.choice(words) if random.random() < 0.04 else column(random, n)

    keys = write(
        tmp_path, "a;b;c;y", lambda n: ";".join([*(str(cell(each, n)) for each in columns), str(n % 2)])
    )
    for _ in range(8):
        try:
            load("CSV", **keys)
            return
        except DataError as error:
            message = str(error)
        if "no column to predict from" in message:
            return
        # The first remedy of a message, and what leaves out a column if there is no other.
        others = [key for key in remedies(message) if key not in ("drop", "thousands")]
        keys = follow(message, keys, *(others or ["drop"]))
    pytest.fail(message)
