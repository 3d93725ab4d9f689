"""What is left of a start that a mistake of the user's kept from its first step."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.runs import make_folder
from torchconsole.engine.client import launcher
from torchconsole.engine.client.launcher import StartedRun, resume_run
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.failed_start import discard_failed_start

LINE = '{"seq": 7, "step": 40, "kind": "resumed"}\n'


@pytest.fixture
def resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartedRun:
    """A worker for a run that was stopped, and that fails for a mistake of the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def launch(folder: RunFolder, *options: str) -> StartedRun:
        return StartedRun(folder, subprocess.Popen(["true"]))

    monkeypatch.setattr(launcher, "_launch", launch)
    folder = make_folder(tmp_path, status="stopped", reason="asked to", step=40, seq=5)
    folder.metrics_file.write_text(LINE)
    run = resume_run(folder)
    refused = {"status": "failed", "reason": "no such device", "user_error": True, "seq": 9}
    folder.write_record(replace(folder.load_record(), **refused))
    return run


def test_a_run_whose_resume_is_refused_stands_as_before(resumed: StartedRun) -> None:
    assert discard_failed_start(resumed) == "no such device"
    record = resumed.folder.load_record()
    assert (record.status, record.reason, record.user_error) == ("stopped", "asked to", False)
    assert (record.step, record.seq) == (40, 5), "later lines are still to be read"


def test_a_run_that_has_gone_on_has_failed(resumed: StartedRun) -> None:
    with resumed.folder.metrics_file.open("a") as file:
        file.write(LINE)
    assert discard_failed_start(resumed) is None
    assert resumed.folder.load_record().status == "failed"
