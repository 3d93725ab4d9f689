"""The line about a run that has ended, and the exit status."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.registry import note_move
from torchconsole.tui.cli.outcome import report_outcome


def a_run(folder: Path, **facts: Any) -> RunFolder:
    run = RunFolder(folder / "run")
    run.path.mkdir()
    run.write_record(RunRecord("run", str(run.path), **facts))
    return run


def test_a_finished_run_is_printed_with_its_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = {"metric": "val/loss", "value": 0.0812, "step": 900}
    run = a_run(tmp_path, status="finished", reason="early stopping", step=1380, best=best)
    assert report_outcome(run) == 0
    output = capsys.readouterr()
    assert output.out == (
        f"run run finished after step 1,380; early stopping; best val/loss 0.0812 at step 900; {run.path}\n"
    )
    assert output.err == ""


def test_a_live_run_comes_with_the_attach_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path, status="running", pid=os.getpid(), host=f"not-{socket.gethostname()}")
    assert report_outcome(run) == 0
    assert capsys.readouterr().out == "run run is still running: torchconsole attach run\n"


def test_a_failure_names_the_cause_and_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path, status="failed", reason="ValueError:\nno such thing")
    assert report_outcome(run) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        f"torchconsole: error: run run failed: ValueError: no such thing; see {run.log_file}\n"
    )


def test_a_run_that_was_removed_while_it_was_watched_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_outcome(RunFolder(tmp_path / "gone")) == 1
    assert "run gone was removed" in capsys.readouterr().err


def test_each_mistake_of_the_user_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path, status="failed", reason="optimizer.lr: no\nmodel.name: no", user_error=True)
    assert report_outcome(run) == 2
    assert capsys.readouterr().err.splitlines() == [
        "torchconsole: error: optimizer.lr: no",
        "torchconsole: error: model.name: no",
    ]


def test_a_run_that_could_not_write_its_files_is_finished_but(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path, status="finished", reason="all epochs done", problem="run.json is lost")
    assert report_outcome(run) == 1
    error = f"torchconsole: error: run run finished, but run.json is lost; {run.path}\n"
    assert capsys.readouterr() == ("", error)


def test_a_run_that_was_renamed_while_it_was_live_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = a_run(tmp_path, status="finished")
    renamed = RunFolder(run.path.rename(tmp_path / "best"))
    note_move([run], renamed)
    assert report_outcome(run) == 0
    assert str(renamed.path) in capsys.readouterr().out
