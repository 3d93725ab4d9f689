"""A process is ended by a signal: because another one has died, or because somebody stops the run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from torchconsole.engine.errors import TrainingError
from torchconsole.engine.run.membership import BEFORE_TRAINING, STOP_NOTE
from torchconsole.engine.training.command_queue import Terminated
from torchconsole.engine.worker import lost_process
from torchconsole.engine.worker.lost_process import telling_loss_from_stop, why_lost

STOPPED = f"SIGTERM {BEFORE_TRAINING}"


class Process:
    """One that torchrun's agent has started, the agent (no rank), or one that has ended meanwhile."""

    def __init__(self, rank: int | None, *above: Process, children: tuple[Process, ...] = ()) -> None:
        self.rank, self._above, self._children = rank, above, children

    def environ(self) -> dict[str, str]:
        if self.rank == -1:
            raise psutil.NoSuchProcess(1)
        return {} if self.rank is None else {"RANK": str(self.rank), "TORCHELASTIC_RUN_ID": "1"}

    def parents(self) -> tuple[Process, ...]:
        return self._above

    def children(self) -> tuple[Process, ...]:
        return self._children


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the first of two processes, whose launcher says nothing of a stop."""
    monkeypatch.delenv(STOP_NOTE, raising=False)
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(lost_process, "NOTE_SECONDS", 0.0)


@pytest.fixture
def note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that the run's parent makes when somebody stops the run."""
    monkeypatch.setenv(STOP_NOTE, str(tmp_path / "stop"))
    return tmp_path / "stop"


def leave(monkeypatch: pytest.MonkeyPatch, *ranks: int | None) -> None:
    """Let these processes be left, which the agent has started; this one may be a child of the first."""
    children = tuple(map(Process, ranks))
    agent = Process(None, children=children)
    monkeypatch.setattr(psutil, "Process", lambda: Process(0, children[0], agent, Process(None)))


def peers(*, stop: bool = False, met: bool = True) -> Any:
    """Return what is known of the other processes."""
    watch = SimpleNamespace(beats={1: "beat"} if met else {})
    return SimpleNamespace(
        others_stop=stop, watch=watch, describe=lambda rank, beat: f"process {rank}: {beat}"
    )


@pytest.mark.parametrize("left", [(0,), (0, None), (0, -1)])
@pytest.mark.usefixtures("note")
def test_a_signal_after_a_process_has_died_is_no_stop(
    monkeypatch: pytest.MonkeyPatch, left: tuple[int | None, ...]
) -> None:
    leave(monkeypatch, *left)
    assert why_lost(STOPPED) == f"another process has ended {BEFORE_TRAINING}"


def test_a_signal_while_all_are_alive_is_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, 0, 1)
    assert why_lost(STOPPED, peers()) == ""


def test_a_stop_that_has_ended_another_process_first_is_a_stop(
    monkeypatch: pytest.MonkeyPatch, note: Path
) -> None:
    note.touch()
    leave(monkeypatch, 0)
    assert why_lost(STOPPED) == ""


def test_a_stop_of_the_training_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, 0)
    assert why_lost("SIGTERM while waiting for data", peers()) == ""


def test_a_process_that_has_met_the_others_is_named_unless_it_has_told_of_a_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leave(monkeypatch, 0)
    assert why_lost(STOPPED, peers()) == "process 1: beat"
    assert why_lost(STOPPED, peers(stop=True)) == ""


@pytest.mark.parametrize("known", [None, peers(met=False)])
def test_of_one_that_had_not_met_the_others_both_is_possible(
    monkeypatch: pytest.MonkeyPatch, known: Any
) -> None:
    leave(monkeypatch, 0)
    both = f"{STOPPED}: process 1 has ended, or somebody has stopped all processes at once"
    assert why_lost(STOPPED, known) == both


def test_another_launcher_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, 0)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert why_lost(STOPPED) == ""


def test_a_loss_becomes_an_error() -> None:
    signals: Any = SimpleNamespace(find_loss=lambda reason: reason.replace("SIGTERM", "lost"))
    with pytest.raises(TrainingError, match=f"lost {BEFORE_TRAINING}"), telling_loss_from_stop(signals):
        raise Terminated(STOPPED)
    signals = SimpleNamespace(find_loss=lambda reason: "")
    with pytest.raises(Terminated), telling_loss_from_stop(signals):
        raise Terminated(STOPPED)
