"""Several processes of one command: those that a launcher has started, and what only looks like it."""

from __future__ import annotations

import os

import pytest

from torchconsole.engine.client.ranks import refuse_ranks
from torchconsole.engine.errors import RunError

TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
ALLOCATION = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_NNODES": "2"}
BATCH = {**ALLOCATION, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
STEP = {**BATCH, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stream is a terminal, and no launcher has started the tests."""
    monkeypatch.setattr(os, "isatty", lambda descriptor: False)
    for name in {**TORCHRUN, **STEP}:
        monkeypatch.delenv(name, raising=False)


def set_variables(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (TORCHRUN, "torchrun has started 2 processes of this command (WORLD_SIZE=2)"),
        ({"RANK": "0", "WORLD_SIZE": "8"}, "8 processes"),
        (STEP, "srun has started 4 tasks of this command (SLURM_STEP_NUM_TASKS=4)"),
    ],
)
def test_one_of_several_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    set_variables(monkeypatch, variables)
    with pytest.raises(RunError) as refusal:
        refuse_ranks()
    assert expected in str(refusal.value)
    assert "start it once" in str(refusal.value)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"},
        {"WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "many"},
        ALLOCATION,
        BATCH,
        {**STEP, "SLURM_STEP_NUM_TASKS": "1"},
    ],
    ids=["none", "torchrun of one", "a size alone", "no number", "salloc", "sbatch", "srun of one"],
)
def test_a_process_of_its_own_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    set_variables(monkeypatch, variables)
    refuse_ranks()


def test_a_shell_that_srun_has_started_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, STEP)
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 1)
    refuse_ranks()
