"""Processes that torchrun has restarted go on with the run that they trained before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.runs import make_folder
from torchconsole.engine.client.ranks import restarted_run
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.status import ListedStatus
from torchconsole.engine.run.membership import JOINS, RESTARTED, own_launch

TORCHRUN = {JOINS: "1", "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0"}


@pytest.fixture(autouse=True)
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(RESTARTED, "")


def make_run(runs_dir: Path, status: ListedStatus, reason: str = "", launch: str | None = None) -> None:
    folder = make_folder(runs_dir, status=status)
    own = own_launch(TORCHRUN) if launch is None else launch
    folder.write_record(replace(folder.load_record(), launch=own, reason=reason))


def test_the_run_of_this_torchrun_goes_on(tmp_path: Path) -> None:
    make_run(tmp_path, "failed", "process 1 on gpu7: out of memory")
    found = restarted_run(tmp_path)
    assert found is not None
    assert found.load_record().reason == "process 1 on gpu7: out of memory"


def test_a_run_of_another_start_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "failed", launch="1 2 3")
    assert restarted_run(tmp_path) is None
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    make_run(tmp_path / "srun", "failed", launch="")
    assert restarted_run(tmp_path / "srun") is None


def test_a_run_that_was_stopped_stays_so(tmp_path: Path) -> None:
    make_run(tmp_path, "stopped", "SIGTERM")
    with pytest.raises(RunError, match="is not restarted, since it is stopped: SIGTERM"):
        restarted_run(tmp_path)
