"""The variables of launchers: which process this is, and where the processes meet."""

from __future__ import annotations

import pytest

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.membership import Membership, read_membership

TORCHRUN = {
    "RANK": "3",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "gpu1",
    "MASTER_PORT": "29400",
    "TORCHELASTIC_RESTART_COUNT": "2",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}
POD = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "train-master-0", "MASTER_PORT": "23456"}
ALLOCATION = {
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "4",
    "SLURM_NNODES": "2",
    "SLURM_JOB_NODELIST": "gpu[07-09]",
}
BATCH = {**ALLOCATION, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
STEP = {
    **BATCH,
    "SLURM_PROCID": "2",
    "SLURM_STEP_ID": "1",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (TORCHRUN, Membership(3, 4, 1, 2, "gpu1", 29400, "2", launcher_hosts=True, by_slurm=False)),
        (POD, Membership(0, 2, 0, 1, "train-master-0", 23456, "0", launcher_hosts=False, by_slurm=False)),
        (STEP, Membership(2, 4, 0, 2, "gpu07", 20_008, "0", launcher_hosts=False, by_slurm=True)),
        (STEP | TORCHRUN, Membership(3, 4, 1, 2, "gpu1", 29400, "2", launcher_hosts=True, by_slurm=False)),
    ],
    ids=["torchrun", "kubernetes", "srun", "torchrun in srun"],
)
def test_each_launcher_says_which_process_this_is(variables: dict[str, str], expected: Membership) -> None:
    assert read_membership(variables) == expected


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
def test_a_process_of_its_own_is_no_member(variables: dict[str, str]) -> None:
    assert read_membership(variables) is None


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu7,gpu9", "gpu7"), ("gpu[07-09,12]", "gpu07"), ("n[1,3]-ib,m2", "n1-ib"), ("a-b.c", "a-b.c")],
)
def test_tasks_of_slurm_meet_on_the_first_machine(nodes: str, first: str) -> None:
    membership = read_membership(STEP | {"SLURM_STEP_NODELIST": nodes})
    assert membership is not None
    assert membership.host == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "4"}, "RANK is 4, but WORLD_SIZE is 4"),
        ({"RANK": "-1"}, "RANK is '-1', which is not a number"),
        ({"MASTER_ADDR": ""}, "not MASTER_ADDR"),
        ({"MASTER_PORT": "x"}, "MASTER_PORT is 'x'"),
    ],
)
def test_variables_that_do_not_fit_together_are_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(RunError, match=message):
        read_membership(TORCHRUN | change)
