"""What each of several processes takes from a checkpoint of a program."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from torchconsole.engine.config.schema import CheckpointConfig, EarlyStoppingConfig
from torchconsole.engine.distributed.program_job import ALONE, NoJob
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.library.joint_checkpoints import FollowingCheckpoints, LeadingCheckpoints, part_of
from torchconsole.engine.library.kept_state import KeptState
from torchconsole.engine.library.program_lr import ProgramLr
from torchconsole.engine.training.checkpoint import newest_valid
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
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


class First(OneOf):
    """The first process of two; the other one gives the step at which it saves."""

    def __init__(self) -> None:
        super().__init__(0, 2)

    def take(self, name: str) -> list[bytes] | None:
        content = io.BytesIO()
        torch.save({"step": 8, "own": {"name": name}}, content)
        return [content.getvalue()]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[AsyncCheckpointWriter]:
    writer = AsyncCheckpointWriter(tmp_path / "checkpoints", -1, lambda event: None)
    writer.start()
    yield writer
    writer.close()


@pytest.mark.parametrize("is_written", [True, False])
def test_a_complete_save_at_the_step_of_a_new_best_takes_its_place(
    kept: KeptState, writer: AsyncCheckpointWriter, *, is_written: bool
) -> None:
    """At the end of a run, for example, when no step follows the best evaluation."""
    kept.progress.step = 8
    manager = LeadingCheckpoints(CheckpointConfig(), kept, writer, First())
    manager.save("best")
    if is_written:
        assert not manager.flush()
        assert "other_processes" not in newest_valid(writer.folder)[1]
    manager.save("last")
    assert not manager.flush()
    folder, saved, _ = newest_valid(writer.folder)
    assert len(saved["other_processes"]) == 1
    assert (writer.folder / "best").resolve() == (writer.folder / "last").resolve() == folder.resolve()


def test_a_complete_state_is_written_once(kept: KeptState, writer: AsyncCheckpointWriter) -> None:
    kept.progress.step = 8
    manager = LeadingCheckpoints(CheckpointConfig(), kept, writer, First())
    manager.save("last")
    manager.save("stop")
    assert kept.progress.revision == 0


class Pair(OneOf):
    """A process of two: what one of them gives, the other one takes."""

    def __init__(self, rank: int, given: dict[str, bytes]) -> None:
        super().__init__(rank, 2)
        self.given = given

    def give(self, name: str, content: bytes) -> None:
        assert name not in self.given
        self.given[name] = content

    def take(self, name: str) -> list[bytes] | None:
        return [self.given.pop(name)] if name in self.given else None


def test_two_saves_at_one_step_are_told_apart(kept: KeptState, writer: AsyncCheckpointWriter) -> None:
    """As when the lr changes and then a stop follows at the same boundary."""
    given: dict[str, bytes] = {}
    other = KeptState(Progress(), EarlyStopping(EarlyStoppingConfig()), ProgramLr())
    first = LeadingCheckpoints(CheckpointConfig(), kept, writer, Pair(0, given))
    second = FollowingCheckpoints(CheckpointConfig(), other, Pair(1, given))
    second.save("last")
    first.save("last")
    assert kept.others is not None
    first.save("command")
    assert kept.others is None, "the second save of the other process is not there yet"


def test_a_save_at_another_step_makes_none_complete(kept: KeptState, writer: AsyncCheckpointWriter) -> None:
    """Processes that exchange nothing need not make the same steps."""
    given: dict[str, bytes] = {}
    other = KeptState(Progress(), EarlyStopping(EarlyStoppingConfig()), ProgramLr())
    first = LeadingCheckpoints(CheckpointConfig(), kept, writer, Pair(0, given))
    second = FollowingCheckpoints(CheckpointConfig(), other, Pair(1, given))
    other.progress.step = 9
    second.save("last")
    first.save("last")
    assert kept.others is None
    assert not given, "it is not waited for"


def test_one_save_that_a_process_missed_does_not_make_the_next_ones_incomplete(
    kept: KeptState, writer: AsyncCheckpointWriter, caplog: pytest.LogCaptureFixture
) -> None:
    given: dict[str, bytes] = {}
    other = KeptState(Progress(), EarlyStopping(EarlyStoppingConfig()), ProgramLr())
    first = LeadingCheckpoints(CheckpointConfig(), kept, writer, Pair(0, given))
    second = FollowingCheckpoints(CheckpointConfig(), other, Pair(1, given))
    first.save("last")
    second.save("last")  # too late
    assert "not all processes have saved at this step" in caplog.text
    second.save("last")
    first.save("last")
    assert kept.others is not None
