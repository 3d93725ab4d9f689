"""How often the run screen is refreshed: on an idle machine, on a busy one, and over SSH."""

from __future__ import annotations

import pytest

from tests.support.scripted import DEVICE, FOLDER, TELEMETRY
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.screens import run_layout
from torchconsole.tui.screens.run_layout import RefreshRate


@pytest.fixture(autouse=True)
def local_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No SSH session, wherever the tests run."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)


def run(cpu_percent: float | None = None, cpu_count: int = 2) -> RunState:
    """Return a run on a machine with this load and number of cores."""
    return RunState(
        name=FOLDER.name,
        folder=str(FOLDER),
        device=DEVICE.model_copy(update={"cpu_count": cpu_count}),
        telemetry=TELEMETRY.model_copy(update={"cpu_percent": cpu_percent}),
    )


def seconds(monkeypatch: pytest.MonkeyPatch, spent: float, state: RunState, sent: int = 0) -> float:
    """Return the interval after a refresh that took `spent` seconds of CPU time and sent so many bytes."""
    clock = iter((5.0, 5.0 + spent))
    monkeypatch.setattr(run_layout.time, "process_time", lambda: next(clock))
    return RefreshRate().seconds(state, sent)


@pytest.mark.parametrize(("spent", "expected"), [(0.001, 0.2), (0.012, 0.3), (0.03, 0.75), (0.5, 2.0)])
def test_expensive_refreshes_are_less_frequent(
    monkeypatch: pytest.MonkeyPatch, spent: float, expected: float
) -> None:
    assert seconds(monkeypatch, spent, run(cpu_percent=50)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("percent", "cores", "expected"),
    [(0, 1, 0.2), (55, 2, 0.2), (90, 2, 0.5), (90, 16, 0.2), (100, 64, 0.5), (None, 2, 0.2)],
)
def test_without_an_idle_core_the_interval_is_the_longest(
    monkeypatch: pytest.MonkeyPatch, percent: float | None, cores: int, expected: float
) -> None:
    assert seconds(monkeypatch, 0.001, run(percent, cores)) == expected


def test_without_telemetry_a_core_counts_as_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert seconds(monkeypatch, 0.001, RunState(name="x", folder="/x")) == 0.2


def test_over_ssh_refreshes_are_less_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 5000 10.0.0.2 22")
    assert seconds(monkeypatch, 0.001, run(cpu_percent=50)) == 0.3


@pytest.mark.parametrize(("sent", "expected"), [(700, 0.3), (1500, 0.6), (20_000, 1.0)])
def test_over_ssh_large_refreshes_are_less_frequent(
    monkeypatch: pytest.MonkeyPatch, sent: int, expected: float
) -> None:
    assert seconds(monkeypatch, 0.001, run(cpu_percent=50), sent) == 0.2
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 5000 10.0.0.2 22")
    assert seconds(monkeypatch, 0.001, run(cpu_percent=50), sent) == expected
    assert seconds(monkeypatch, 0.001, run(cpu_percent=100), sent) == max(0.5, expected)
