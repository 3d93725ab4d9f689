"""`torchconsole metrics`: a row per run and step, with exact values."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import STARTED, Served, make_folder, point, wait_until
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metric_rows import MetricRows
from torchconsole.tui.cli.metrics import metrics

THIRD = 1 / 3


def read_rows(folder: RunFolder) -> list[dict[str, Any]]:
    return list(MetricRows.survey(folder))


def evaluation(step: int, **values: float | None) -> ev.EvaluationCompleted:
    named = {f"val/{name}": value for name, value in values.items()}
    return ev.EvaluationCompleted(step=step, epoch=1, seconds=0.1, reason="schedule", metrics=named)


@pytest.fixture
def ended(tmp_path: Path) -> RunFolder:
    """A run that went back from step 4 to step 2, with a loss that is not finite at step 3."""
    with Served(make_folder(tmp_path)) as served:
        queue = served.event_queue
        queue.emit(STARTED)
        for step in (1, 2, 3, 4):
            queue.log(point(step, loss=9.0 if step > 2 else THIRD * step))
        queue.emit(evaluation(4, loss=9.0))
        queue.emit(ev.RunResumed(step=2, epoch=0, checkpoint="step-00000002"))
        queue.log(point(3, loss=math.inf))
        queue.emit(evaluation(3, loss=0.1 + 0.2, auroc=None))
    return served.folder


def test_a_row_has_what_was_logged_and_evaluated_at_its_step(ended: RunFolder) -> None:
    rows = read_rows(ended)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert [row["train/loss"] for row in rows] == [THIRD, 2 * THIRD, math.inf]
    assert "val/loss" not in rows[0]
    assert (rows[2]["val/loss"], rows[2]["val/auroc"]) == (0.1 + 0.2, None)
    assert {row["run"] for row in rows} == {ended.name}
    assert rows[1]["active_seconds"] == 0.02


def test_csv_gives_back_the_very_values(ended: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert metrics([str(ended.path)]) == 0
    first, _, last = csv.DictReader(capsys.readouterr().out.splitlines())
    assert list(first)[:5] == ["run", "step", "epoch", "time", "active_seconds"]
    assert float(first["train/loss"]) == THIRD
    assert (first["val/loss"], last["val/auroc"], last["train/loss"]) == ("", "", "inf")
    assert float(last["val/loss"]) == 0.1 + 0.2


def test_json_names_what_is_not_finite(ended: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert metrics([str(ended.path)], form="json") == 0
    first, _, last = json.loads(capsys.readouterr().out)
    assert first["train/loss"] == THIRD
    assert "nonfinite" not in first
    assert (last["train/loss"], last["val/auroc"]) == (None, None)
    assert last["nonfinite"] == {"train/loss": "inf"}


def test_parquet_has_typed_columns(ended: RunFolder, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "all.parquet"
    assert metrics([str(ended.path)], output=file) == 0
    table = parquet.read_table(file)
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["run"], types["step"], types["train/loss"]) == ("string", "int64", "double")
    assert table["train/loss"].to_pylist() == [THIRD, 2 * THIRD, math.inf]
    assert table["val/loss"].to_pylist() == [None, None, 0.1 + 0.2]


def test_runs_follow_each_other_each_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a live run, the table has what is in its files by now."""
    with Served(make_folder(tmp_path, "first")) as served:
        served.event_queue.log(point(1, own=2.0))
    with Served(make_folder(tmp_path, "second")) as live:
        live.event_queue.emit(STARTED)
        live.event_queue.log(point(1))
        wait_until(lambda: read_rows(live.folder), "the first row of the live run")
        first, second = str(served.folder.path), str(live.folder.path)
        assert metrics([first, second, first]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["run"] for row in rows] == [served.folder.name, live.folder.name]
    assert [row["own"] for row in rows] == ["2.0", ""]


@pytest.mark.parametrize(
    ("name", "start"), [("a.csv", "run,step"), ("a.json", "[\n{"), ("a.txt", "run,step")]
)
def test_the_suffix_chooses_the_format(ended: RunFolder, tmp_path: Path, name: str, start: str) -> None:
    assert metrics([str(ended.path)], output=tmp_path / name) == 0
    assert (tmp_path / name).read_text().startswith(start)


def test_a_run_without_metrics_is_an_empty_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(make_folder(tmp_path).path)
    assert metrics([run]) == 0
    assert capsys.readouterr().out == "run,step,epoch,time,active_seconds\n"
    assert metrics([run], form="json") == 0
    assert json.loads(capsys.readouterr().out) == []


def refusal(**options: Any) -> str:
    with pytest.raises(TorchconsoleError) as caught:
        metrics(**options)
    return str(caught.value)


def test_what_cannot_be_written_is_refused(
    ended: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, file = [str(ended.path)], tmp_path / "a.csv"
    file.write_text("kept")
    assert refusal(runs=runs, output=file) == f"{file} already exists; pass --force to overwrite it"
    assert file.read_text() == "kept"
    missing = tmp_path / "missing"
    assert refusal(runs=runs, output=missing / "a.csv") == f"{missing} is not a folder; create it first"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refusal(runs=runs, form="parquet", output=tmp_path / "b") == (
        "--format parquet requires pyarrow: pip install 'torchconsole[parquet]'"
    )


def test_parquet_is_not_printed(ended: RunFolder) -> None:
    pytest.importorskip("pyarrow")
    assert refusal(runs=[str(ended.path)], form="parquet") == (
        "--format parquet writes a binary file: name it with -o FILE"
    )
