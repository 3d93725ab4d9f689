"""The rows of what a run has logged: every value, and none that a resume has made void."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metric_rows import MetricRows


def line(seq: int, step: int, kind: str = "train", **more: Any) -> dict[str, Any]:
    return {"seq": seq, "step": step, "epoch": 1, "time": 100.5, "kind": kind, **more}


def write(place: Path, *lines: dict[str, Any]) -> RunFolder:
    folder = RunFolder(place / "run")
    folder.path.mkdir()
    folder.metrics_file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return folder


def rows(folder: RunFolder) -> list[dict[str, Any]]:
    return list(MetricRows.survey(folder))


def test_a_row_has_the_facts_and_the_metrics_of_a_step(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        line(1, 5, active_seconds=0.25, **{"train/loss": 0.1 + 0.2, "lr": 1}),
        line(2, 5, "evaluation", seconds=0.5, reason="schedule", **{"val/loss": None, "val/f1": 0.5}),
        line(3, 5, "epoch", seconds=0.5, **{"train/loss": 0.25}),
        line(4, 5, "gap", lines=3),
        line(5, 6, "evaluation", seconds=0.5, reason="command", **{"val/f1": 0.75}),
    )
    table = MetricRows.survey(folder)
    assert table.metrics == ("train/loss", "lr", "val/loss", "val/f1")
    first, second = table
    assert first == {
        "run": "run", "step": 5, "epoch": 1, "time": 100.5, "active_seconds": 0.25,
        "train/loss": 0.1 + 0.2, "lr": 1.0, "val/loss": None, "val/f1": 0.5,
    }  # fmt: skip
    assert (second["step"], second["val/f1"], second["active_seconds"]) == (6, 0.75, None)


def test_what_was_not_finite_is_so_again(tmp_path: Path) -> None:
    flags = {"a/x": "nan", "a/y": "-inf", "a/z": 3, "a/unknown": "inf"}
    folder = write(tmp_path, line(1, 1, nonfinite=flags, **{"a/x": None, "a/y": None, "a/z": None}))
    [row] = rows(folder)
    assert math.isnan(row["a/x"])
    assert row["a/y"] == -math.inf
    assert row["a/z"] is None
    assert "a/unknown" not in row


def test_steps_beyond_a_resume_are_left_out(tmp_path: Path) -> None:
    steps = [line(number, number, x=number) for number in range(1, 7)]
    folder = write(
        tmp_path,
        *steps,
        line(7, 4, "resumed", checkpoint="step-00000004"),
        line(8, 5, x=50),
        line(9, 6, x=60),
        line(10, 5, "resumed", checkpoint="step-00000005"),
        line(11, 6, x=600),
    )
    assert [(row["step"], row["x"]) for row in rows(folder)] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 4),
        (5, 50),
        (6, 600),
    ]


def test_a_run_that_goes_on_has_the_rows_that_were_surveyed(tmp_path: Path) -> None:
    folder = write(tmp_path, line(1, 1, x=1))
    with folder.metrics_file.open("a") as file:
        file.write('{"seq":2,"step":2,')
        file.flush()
        table = MetricRows.survey(folder)
        file.write('"epoch":1,"time":1.0,"kind":"train","x":2}\n')
        file.write(json.dumps(line(3, 3, x=3, y=3)) + "\n")
    assert [row["step"] for row in table] == [1]
    assert len(rows(folder)) == 3


@pytest.mark.parametrize(
    "foreign",
    [
        {"step": "1"}, {"step": True}, {"step": 10**30}, {"epoch": None}, {"time": "now"}, {"time": 10**400},
        {"seq": -1}, {"kind": ["train"]}, {"active_seconds": {}},
    ],
)  # fmt: skip
def test_a_line_of_another_form_is_no_row(tmp_path: Path, foreign: dict[str, Any]) -> None:
    folder = write(tmp_path, {**line(1, 1, x=1), **foreign}, line(2, 2, x=2))
    assert [row["step"] for row in rows(folder)] == [2]


def test_a_value_of_another_form_is_no_metric(tmp_path: Path) -> None:
    values = {"a": "text", "b": [1], "c": True, "d": 10**400, "run": 3, "e": 1}
    [row] = rows(write(tmp_path, line(1, 1, **values)))
    assert row["run"] == "run"
    assert set(row) == {"run", "step", "epoch", "time", "active_seconds", "e"}


def test_without_a_file_there_are_no_rows(tmp_path: Path) -> None:
    assert rows(RunFolder(tmp_path)) == []
