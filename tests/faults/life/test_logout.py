"""The worker warns at its start if the machine will end it at logout, and names a workaround."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.life.conftest import Start
from torchconsole.engine.session import signals
from torchconsole.engine.session.signals import logout_warning

SESSION = "0::/user.slice/user-1000.slice/session-3.scope\n"
MANAGER = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u5.scope\n"
SERVICE = "0::/system.slice/slurmd.service/job_7/step_0\n"

Machine = Callable[..., None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Simulate a machine: set this process's cgroup, and put a loginctl with these answers into PATH."""

    def set_up(cgroup: str, **answers: str) -> None:
        (tmp_path / "cgroup").write_text(cgroup)
        monkeypatch.setattr(signals, "CGROUP", tmp_path / "cgroup")
        cases = "\n".join(f'*--property={name}*) echo "{value}";;' for name, value in answers.items())
        program = tmp_path / "bin" / "loginctl"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}\n*) echo;;\nesac\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return set_up


def test_a_session_that_kills_its_processes_is_warned_of(machine: Machine) -> None:
    machine(SESSION, KillUserProcesses="yes", KillExcludeUsers="nobody", Linger="no")
    warning = logout_warning() or ""
    assert "KillUserProcesses" in warning
    assert "`loginctl enable-linger` once, then start" in warning
    assert "systemd-run --user --scope torchconsole" in warning


def test_enable_linger_is_not_suggested_if_it_is_enabled(machine: Machine) -> None:
    machine(SESSION, KillUserProcesses="yes", Linger="yes")
    assert "enable-linger" not in (logout_warning() or "enable-linger")


def test_a_user_manager_that_stops_at_logout_is_warned_of(machine: Machine) -> None:
    machine(MANAGER, KillUserProcesses="yes", Linger="no")
    assert "enable-linger" in (logout_warning() or "")
    machine(MANAGER, KillUserProcesses="yes", Linger="yes")
    assert logout_warning() is None


@pytest.mark.parametrize(
    ("cgroup", "answers"),
    [
        (SESSION, {"KillUserProcesses": "no"}),
        (SESSION, {"KillUserProcesses": "yes", "KillExcludeUsers": f"root {getpass.getuser()}"}),
        (SESSION, {"KillUserProcesses": "yes", "KillOnlyUsers": "somebody-else"}),
        (SERVICE, {"KillUserProcesses": "yes", "Linger": "no"}),
    ],
)
def test_there_is_no_warning_if_processes_survive_the_logout(
    machine: Machine, cgroup: str, answers: dict[str, str]
) -> None:
    machine(cgroup, **answers)
    assert logout_warning() is None


def test_there_is_no_warning_without_systemd(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine(SESSION)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert logout_warning() is None


def test_the_worker_logs_the_warning_at_its_start(start: Start, machine: Machine, tmp_path: Path) -> None:
    """The worker sees a simulated cgroup, mounted over its /proc/PID/cgroup."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("mounting over a file in /proc needs root, and is not allowed in every container")
    run = start("", "training.epochs=1")
    assert run.wait() == 0
    machine(SESSION, KillUserProcesses="yes", Linger="no")
    script = f'mount --bind {tmp_path / "cgroup"} /proc/$$/cgroup && exec "$@"'
    command = [sys.executable, "-P", "-m", "torchconsole.engine.worker.main", str(run.folder.path)]
    with run.folder.log_file.open("ab") as log:
        subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *command], stderr=log, check=True)
    assert "WARNING\tthis run ends when you log out" in run.log
