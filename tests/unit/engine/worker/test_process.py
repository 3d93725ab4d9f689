"""A process of several that the agent has started again."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.runs import make_folder
from torchconsole.engine.protocol.status import ListedStatus
from torchconsole.engine.run.membership import BEFORE_TRAINING, JOINS, RESTARTED, STOP_NOTE
from torchconsole.engine.worker import main as worker
from torchconsole.engine.worker.process import main


class ReplacedError(Exception):
    """This process would have become a follower."""


@pytest.fixture(autouse=True)
def resumed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments that the worker gets, which trains nothing; a restart by an agent."""

    def replace(program: str, command: list[str]) -> None:
        raise ReplacedError(command)

    found: list[list[str]] = []
    monkeypatch.setattr(worker, "main", lambda arguments: found.append(arguments) or 0)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(prctl=lambda *arguments: 0))
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *arguments: set())
    monkeypatch.setattr(os, "execv", replace)
    for name in (JOINS, RESTARTED):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    return found


def start(monkeypatch: pytest.MonkeyPatch, folder: Path, rank: int) -> int:
    monkeypatch.setenv("RANK", str(rank))
    return main([str(folder), "--parent=1"])


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("status", ["stopped", "finished"])
def test_a_run_that_has_ended_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, resumed: list[list[str]], status: ListedStatus, rank: int
) -> None:
    """A process has failed after that, while it ended. The followers must not wait for the leader either."""
    folder = make_folder(tmp_path, status=status, reason="by the user")
    assert start(monkeypatch, folder.path, rank) == 0
    assert not resumed
    record = folder.load_record()
    assert (record.status, record.reason) == (status, "by the user")


def test_a_run_that_failed_is_resumed_by_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, resumed: list[list[str]]
) -> None:
    folder = make_folder(tmp_path, status="failed", reason="out of memory")
    assert start(monkeypatch, folder.path, 0) == 0
    assert resumed == [[str(folder.path), "--resume"]]
    assert folder.load_record().status == "starting"
    with pytest.raises(ReplacedError, match="follower"):
        start(monkeypatch, folder.path, 1)


def test_a_run_that_is_to_stop_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, resumed: list[list[str]]
) -> None:
    """The parent got the signal between two starts."""
    folder = make_folder(tmp_path, status="failed", reason="out of memory")
    (tmp_path / "stop").touch()
    monkeypatch.setenv(STOP_NOTE, str(tmp_path / "stop"))
    assert start(monkeypatch, folder.path, 0) == 0
    assert not resumed


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (143, f"SIGTERM {BEFORE_TRAINING}", 143),
        (0, f"stopped {BEFORE_TRAINING}", 1),
        (143, "SIGTERM", 0),
        (0, "all epochs done", 0),
    ],
)
def test_the_agent_ends_the_others_only_after_a_stop_that_they_do_not_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, reason: str, expected: int
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    monkeypatch.setattr(worker, "main", lambda arguments: status)
    folder = make_folder(tmp_path, status="stopped", reason=reason)
    assert start(monkeypatch, folder.path, 0) == expected
