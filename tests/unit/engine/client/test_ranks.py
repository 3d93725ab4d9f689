"""Commands that a launcher has started several times."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchconsole.engine.client.ranks import join_ranks
from torchconsole.engine.errors import RunError
from torchconsole.tui.cli.parser import run_command


def start_as(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    """Set the variables that torchrun gives to one of four processes."""
    variables = {"RANK": str(rank), "WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_a_command_that_does_not_train_runs_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["runs", "--runs-dir", str(tmp_path)]
    start_as(monkeypatch, 0)
    assert run_command(command) == 0
    alone = capsys.readouterr()
    assert "leaves this command" not in alone.err
    start_as(monkeypatch, 3)
    assert run_command(command) == 0
    assert capsys.readouterr() == ("", "torchconsole: process 3 of 4 leaves this command to the first one\n")


def test_a_number_of_processes_is_refused_under_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    start_as(monkeypatch, 0)
    with pytest.raises(RunError, match="--nproc 2: a launcher has started 4 processes already"):
        join_ranks(detach=False, trusts=False, nproc="2")
