"""`torchconsole import-run`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.runs import make_folder
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.recorded_history import read_run
from torchconsole.engine.run.registry import list_runs
from torchconsole.tui.cli.parser import run_command
from torchconsole.tui.state import ConsoleState


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "fit.csv"
    path.write_text("run,step,loss\na,1,0.5\na,2,0.25\nb,1,0.75\n", encoding="utf-8")
    return path


def test_each_run_is_listed(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    assert run_command(["import-run", str(table), "--runs-dir", str(runs)]) == 0
    one, two, separated, renamed = capsys.readouterr().out.splitlines()
    assert separated.endswith("fit.csv are separated by commas")
    assert renamed == "  renamed: loss is train/loss"
    assert one.startswith("imported a-")
    assert one.endswith(": 2 steps of train/loss")
    assert two.startswith("imported b-")
    assert sorted(record.name[0] for record in list_runs(runs)) == ["a", "b"]


def test_json(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["import-run", str(table), "--json", "--runs-dir", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["failed"] == []
    one, _ = report["runs"]
    assert (one["separator"], one["renamed"], one["notes"]) == ("commas", {"loss": "train/loss"}, [])
    assert Path(one["folder"]).name == one["run"]
    assert one["source"] == str(table)
    assert (one["format"], one["steps"], one["metrics"]) == ("CSV", 2, ["train/loss"])


def test_what_cannot_be_imported_is_in_the_json_too(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "odd.csv"
    odd.write_text("a,b\n1,2\n", encoding="utf-8")
    command = ["import-run", "--json", "--runs-dir", str(tmp_path / "runs"), str(odd), str(tmp_path / "gone")]
    assert run_command(command) == 2
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["runs"] == []
    assert [each["file"] for each in report["failed"]] == [str(odd), str(tmp_path / "gone")]
    assert "has no column for the step" in report["failed"][0]["reason"]
    assert len(printed.err.splitlines()) == 2
    assert run_command([*command, str(table)]) == 1
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 2


def test_the_console_offers_no_more_epochs(table: Path, tmp_path: Path) -> None:
    assert run_command(["import-run", str(table), "--runs-dir", str(tmp_path)]) == 0
    record = list_runs(tmp_path)[0]
    state = ConsoleState(read_run(RunFolder(Path(record.folder)))[0], connection="files")
    assert state.has_ended
    assert state.is_imported
    assert not state.can_extend
    assert not state.can_resume


def test_one_name_is_for_one_run(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TorchconsoleError, match="--name names one run, but 2 were found"):
        run_command(["import-run", str(table), "--name", "x", "--runs-dir", str(tmp_path / "runs")])
    assert not (tmp_path / "runs").exists()


def test_beside_a_run_of_ours_only_its_own_settings_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Our own are not all listed as missing. Steps that are epochs are told, and can be counted as such."""
    runs, table = tmp_path / "runs", tmp_path / "fit.csv"
    table.write_text("epoch,loss\n1,0.5\n2,0.25\n", encoding="utf-8")
    ours = make_folder(runs, status="finished", step=3)
    ours.preset_file.write_text('title = "ours"\n[optimizer]\nlr = 0.1\n', encoding="utf-8")
    assert run_command(["import-run", str(table), "--name", "fit", "--runs-dir", str(runs)]) == 0
    fit = next(record.name for record in list_runs(runs) if record.preset == "imported")
    capsys.readouterr()
    assert run_command(["compare", fit, ours.name, "--runs-dir", str(runs)]) == 0
    printed = capsys.readouterr().out
    assert f"the steps of {fit} are epochs" in printed
    assert "imported.from" in printed
    assert "optimizer.lr" not in printed
    state, _ = read_run(RunFolder(runs / fit))
    assert state.steps_per_epoch == 1
    assert run_command(["checkpoints", fit, "--runs-dir", str(runs)]) == 0
    assert f"{fit} has no checkpoint, because it was imported from {table}" in capsys.readouterr().out
