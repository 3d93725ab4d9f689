"""The evaluations that lists of runs show."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.hostile import HOSTILE, replace_by
from torchconsole.engine.run import evaluations
from torchconsole.engine.run.evaluations import EvaluationReader


def append(path: Path, *lines: dict[str, object], end: str = "\n") -> None:
    """Append lines to a file."""
    with path.open("a") as file:
        file.write("\n".join(json.dumps(line, separators=(",", ":")) for line in lines) + end)


def evaluation(step: int, **metrics: object) -> dict[str, object]:
    """Return the content of an evaluation's line."""
    return {"seq": step, "step": step, "epoch": 1, "time": 1.0, "kind": "evaluation", **metrics}


TRAIN = {"seq": 1, "step": 1, "epoch": 1, "time": 1.0, "kind": "train", "train/loss": 1.0}


def test_a_reader_continues_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    reader = EvaluationReader(path)
    assert not reader.read()
    append(path, TRAIN, evaluation(10, loss=2.0), TRAIN, evaluation(20, loss=1.0))
    assert reader.read()
    assert reader.values("loss") == [2.0, 1.0]
    assert not reader.read()
    append(path, evaluation(30, loss=0.5), end="")
    assert not reader.read()
    append(path, {}, end="")
    path.write_text(path.read_text().removesuffix("{}") + "\n")
    assert reader.read()
    assert reader.values("loss") == [2.0, 1.0, 0.5]


def test_a_resume_repeats_evaluations(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    resumed = {"seq": 40, "step": 10, "epoch": 1, "kind": "resumed"}
    append(path, evaluation(10, a=1), evaluation(20, a=2), evaluation(30, a=3), resumed)
    append(path, evaluation(20, a=4), evaluation(20, a=5))
    reader = EvaluationReader(path)
    reader.read()
    assert [(found.step, found.metrics["a"]) for found in reader.evaluations] == [(10, 1), (20, 5)]


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append(path, evaluation(10, a=1), evaluation(20, a=2))
    reader = EvaluationReader(path)
    reader.read()
    path.rename(tmp_path / "before")
    append(path, evaluation(5, a=9))
    assert reader.read()
    assert reader.values("a") == [9]
    path.unlink()
    assert reader.read()
    assert reader.values("a") == []


def test_values_that_are_no_finite_numbers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append(path, evaluation(1, a=None, b=None, c="x", d=True, e=10**400, nonfinite={"a": "nan", "c": "inf"}))
    append(path, evaluation(-1, a=1), evaluation(2, a=None, nonfinite={"a": "-inf"}))
    reader = EvaluationReader(path)
    reader.read()
    first, second = reader.evaluations
    assert math.isnan(first.metrics["a"])
    assert first.metrics.keys() == {"a"}
    assert second.metrics["a"] == -math.inf


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setattr(evaluations, "MOST_BYTES", 300)
    monkeypatch.setattr(evaluations, "BLOCK_BYTES", 50)
    monkeypatch.setattr(evaluations, "LINE_BYTES", 200)
    for step in range(100):
        append(path, evaluation(step, a=step), TRAIN)
    append(path, evaluation(100, a="x" * 1000), evaluation(101, a=101))
    reader = EvaluationReader(path)
    reader.read()
    assert reader.values("a") == [101]
    append(path, evaluation(102, a=102), evaluation(103, a=103))
    reader.read()
    assert reader.values("a") == [101, 102, 103]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_have_no_evaluations(tmp_path: Path, name: str) -> None:
    path = tmp_path / "metrics.jsonl"
    replace_by(name, path)
    reader = EvaluationReader(path)
    with suppress(OSError):
        reader.read()
    assert reader.evaluations == []
