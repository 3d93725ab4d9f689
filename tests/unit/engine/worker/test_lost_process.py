"""A process is ended by a signal: because another one has died, or because somebody stops the run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from torchconsole.engine.client.launcher import PARENT
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.run.membership import BEFORE_TRAINING, STOP_NOTE
from torchconsole.engine.training.command_queue import Terminated
from torchconsole.engine.worker import lost_process
from torchconsole.engine.worker.lost_process import telling_loss_from_stop


class Process:
    """A child of the parent: alive, a zombie, or gone meanwhile."""

    def __init__(self, status: str) -> None:
        self._status = status

    def status(self) -> str:
        if self._status == "gone":
            raise psutil.NoSuchProcess(1)
        return self._status


class Parent:
    """The parent of two processes."""

    def __init__(self, *states: str) -> None:
        self._children = [Process(status) for status in states]

    def cmdline(self) -> list[str]:
        return ["python", "-m", PARENT]

    def children(self) -> list[Process]:
        return self._children


@pytest.fixture(autouse=True)
def note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that the parent makes when somebody stops the run."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv(STOP_NOTE, str(tmp_path / "stop"))
    monkeypatch.setattr(lost_process, "NOTE_SECONDS", 0.0)
    return tmp_path / "stop"


def end(monkeypatch: pytest.MonkeyPatch, parent: Any, reason: str = f"SIGTERM {BEFORE_TRAINING}") -> None:
    monkeypatch.setattr(psutil, "Process", lambda pid: {os.getppid(): parent}[pid])
    with telling_loss_from_stop():
        raise Terminated(reason)


@pytest.mark.parametrize("left", [("sleeping",), ("sleeping", psutil.STATUS_ZOMBIE), ("sleeping", "gone")])
def test_a_signal_after_a_process_has_died_is_no_stop(
    monkeypatch: pytest.MonkeyPatch, left: tuple[str, ...]
) -> None:
    with pytest.raises(TrainingError, match="another process has ended before the training began"):
        end(monkeypatch, Parent(*left))


def test_a_signal_while_all_are_alive_is_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Terminated):
        end(monkeypatch, Parent("sleeping", "sleeping"))


def test_a_stop_that_has_ended_another_process_first_is_a_stop(
    monkeypatch: pytest.MonkeyPatch, note: Path
) -> None:
    note.touch()
    with pytest.raises(Terminated):
        end(monkeypatch, Parent("sleeping"))


def test_a_stop_of_the_training_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Terminated):
        end(monkeypatch, Parent("sleeping"), "SIGTERM while waiting for data")
