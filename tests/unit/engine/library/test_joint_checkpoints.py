"""What each of several processes takes from a checkpoint of a program."""

from __future__ import annotations

from typing import Any

import pytest

from torchconsole.engine.config.schema import EarlyStoppingConfig
from torchconsole.engine.distributed.program_job import ALONE, NoJob
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.library.joint_checkpoints import part_of
from torchconsole.engine.library.kept_state import KeptState
from torchconsole.engine.library.program_lr import ProgramLr
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.stopping import EarlyStopping


class OneOf(NoJob):
    """A process of several."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


@pytest.fixture
def kept() -> KeptState:
    return KeptState(Progress(), EarlyStopping(EarlyStoppingConfig()), ProgramLr())


SAVED: dict[str, Any] = {
    "step": 7,
    "random": "of 0",
    "pass_start": "of 0",
    "other_processes": [{"random": "of 1", "pass_start": "of 1"}, {"random": "of 2", "pass_start": "of 2"}],
}


@pytest.mark.parametrize("rank", range(3))
def test_each_process_takes_its_own_part(kept: KeptState, rank: int) -> None:
    own = f"of {rank}"
    assert part_of(SAVED, OneOf(rank, 3), kept) == {"step": 7, "random": own, "pass_start": own}


@pytest.mark.parametrize("size", [2, 4])
def test_another_number_of_processes_is_refused(kept: KeptState, size: int) -> None:
    with pytest.raises(CheckpointError, match=f"3 processes have trained this run, and {size} resume it"):
        part_of(SAVED, OneOf(0, size), kept)


def test_without_the_states_of_the_others_it_is_said_that_a_resume_is_not_exact(
    kept: KeptState, caplog: pytest.LogCaptureFixture
) -> None:
    alone = {name: value for name, value in SAVED.items() if name != "other_processes"}
    assert part_of(alone, ALONE, kept) == alone
    assert not caplog.messages
    assert part_of(alone, OneOf(0, 2), kept) == alone
    taken = part_of(alone, OneOf(1, 2), kept)
    assert taken["random"] != "of 0"
    assert (taken["step"], taken["pass_start"]) == (7, None)
    assert "not bit-exact" in caplog.messages[0]
