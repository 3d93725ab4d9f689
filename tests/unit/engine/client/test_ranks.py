"""Several processes of one command: the first one starts the run, the others follow it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from torchconsole.engine.client.ranks import (
    FOLLOWER,
    SCRIPT_FOLLOWER,
    has_nothing_to_do,
    join_program,
    join_ranks,
)
from torchconsole.engine.config.script import Script
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.membership import JOINS
from torchconsole.tui.cli.parser import run_command

FIRST = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
STEP = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NODELIST": "gpu[07-09]"}


class ReplacedError(Exception):
    """This process would have become another program."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment without a launcher and without a terminal."""

    def replace(program: str, command: list[str], variables: dict[str, str]) -> None:
        raise ReplacedError(program, command, variables)

    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    for name in (*FIRST, JOINS, "TORCHELASTIC_RUN_ID"):
        own.pop(name, None)
    monkeypatch.setattr(os, "environ", own)
    monkeypatch.setattr(os, "isatty", lambda descriptor: False)
    monkeypatch.setattr(os, "execve", replace)
    return own


def test_a_process_of_its_own_does_not_join(environment: dict[str, str]) -> None:
    join_ranks(detach=True, trusts=False, nproc=None)
    assert JOINS not in environment


def test_the_worker_of_the_first_process_leads(environment: dict[str, str]) -> None:
    environment |= FIRST
    join_ranks(detach=False, trusts=False, nproc=None)
    assert environment[JOINS] == "1"


@pytest.mark.parametrize("variables", [FIRST | {"RANK": "1"}, STEP], ids=["torchrun", "srun"])
def test_other_processes_become_followers(environment: dict[str, str], variables: dict[str, str]) -> None:
    environment |= variables
    with pytest.raises(ReplacedError) as replaced:
        join_ranks(detach=False, trusts=True, nproc=None)
    program, command, inherited = replaced.value.args
    assert command == [sys.executable, "-P", "-m", FOLLOWER, "--trust"]
    assert program == sys.executable
    assert inherited.items() >= variables.items()


@pytest.mark.parametrize("variables", [FIRST | {"RANK": "1"}, STEP], ids=["pod", "srun"])
@pytest.mark.parametrize("terminal", [0, 1, 2])
def test_a_person_at_a_terminal_does_not_join(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], terminal: int
) -> None:
    """A shell in a job of Slurm or in a pod has the variables of the processes that train there."""
    environment |= variables
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == terminal)
    join_ranks(detach=True, trusts=False, nproc="2")
    assert JOINS not in environment
    assert not has_nothing_to_do()


def test_torchrun_in_a_terminal_has_its_processes_join(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment |= FIRST | {"RANK": "1", "TORCHELASTIC_RUN_ID": "none"}
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    assert has_nothing_to_do() == "process 1 of 2 leaves this command to the first one"
    with pytest.raises(ReplacedError):
        join_ranks(detach=False, trusts=False, nproc=None)


def test_processes_that_train_together_cannot_be_detached(environment: dict[str, str]) -> None:
    environment |= FIRST
    with pytest.raises(RunError, match="has started 2 processes to train together"):
        join_ranks(detach=True, trusts=False, nproc=None)


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


def test_a_number_of_processes_is_refused_under_a_launcher(environment: dict[str, str]) -> None:
    environment |= FIRST | {"WORLD_SIZE": "4"}
    with pytest.raises(RunError, match="--nproc 2: a launcher has started 4 processes already"):
        join_ranks(detach=False, trusts=False, nproc="2")


def test_a_program_is_run_by_all_processes_of_a_launcher(environment: dict[str, str]) -> None:
    script = Script(file="/there/train.py", args=["--lr", "0.1"], folder="/there")
    assert join_program(script, detach=True, nproc=None) == script
    environment |= FIRST
    assert join_program(script, detach=False, nproc=None) == replace(script, processes=2)
    environment["RANK"] = "1"
    with pytest.raises(ReplacedError) as replaced:
        join_program(script, detach=False, nproc=None)
    *_, module, content = replaced.value.args[1]
    assert module == SCRIPT_FOLLOWER
    assert Script(**json.loads(content)) == script
