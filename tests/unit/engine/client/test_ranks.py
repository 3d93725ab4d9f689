"""Several processes of one command: the first one starts the run, the others follow it."""

from __future__ import annotations

import os
import sys

import pytest

from torchconsole.engine.client.ranks import FOLLOWER, join_ranks
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.membership import JOINS

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
    for name in (*FIRST, JOINS):
        own.pop(name, None)
    monkeypatch.setattr(os, "environ", own)
    monkeypatch.setattr(os, "isatty", lambda descriptor: False)
    monkeypatch.setattr(os, "execve", replace)
    return own


def test_a_process_of_its_own_does_not_join(environment: dict[str, str]) -> None:
    join_ranks(detach=True, trusts=False)
    assert JOINS not in environment


def test_the_worker_of_the_first_process_leads(environment: dict[str, str]) -> None:
    environment |= FIRST
    join_ranks(detach=False, trusts=False)
    assert environment[JOINS] == "1"


@pytest.mark.parametrize("variables", [FIRST | {"RANK": "1"}, STEP], ids=["torchrun", "srun"])
def test_other_processes_become_followers(environment: dict[str, str], variables: dict[str, str]) -> None:
    environment |= variables
    with pytest.raises(ReplacedError) as replaced:
        join_ranks(detach=False, trusts=True)
    program, command, inherited = replaced.value.args
    assert command == [sys.executable, "-P", "-m", FOLLOWER, "--trust"]
    assert program == sys.executable
    assert inherited.items() >= variables.items()


def test_a_shell_that_srun_has_started_does_not_join(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment |= STEP
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 1)
    join_ranks(detach=False, trusts=False)
    assert JOINS not in environment


def test_processes_that_train_together_cannot_be_detached(environment: dict[str, str]) -> None:
    environment |= FIRST
    with pytest.raises(RunError, match="has started 2 processes to train together"):
        join_ranks(detach=True, trusts=False)
