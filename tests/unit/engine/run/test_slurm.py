"""A run whose job of Slurm was started again, maybe on another machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.runs import make_folder, running
from torchconsole.engine.run.slurm import own_job

ELSEWHERE = running(host="elsewhere", boot_id="another", slurm={"id": "7", "restarts": 1})


def test_the_job_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    assert own_job() is None
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert own_job() == {"id": "7", "restarts": 0}
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert own_job() == {"id": "7", "restarts": 2}


def test_the_run_of_an_earlier_start_of_the_job_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path, **ELSEWHERE)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    record = folder.read_record()
    assert record.status == "lost"
    assert "Slurm has ended its job" in record.reason


@pytest.mark.parametrize(("job", "restarts"), [("", ""), ("7", "1"), ("8", "2")])
def test_the_run_of_another_job_or_of_this_start_is_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str, restarts: str
) -> None:
    folder = make_folder(tmp_path, **ELSEWHERE)
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    assert folder.read_record().status == "running"
