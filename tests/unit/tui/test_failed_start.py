"""What remains of a start that failed before the first step because of a user error."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.runs import make_folder
from torchconsole.engine.client.launcher import StartedRun, resume_run
from torchconsole.tui.failed_start import discard_failed_start

LINE = '{"seq": 7, "step": 40, "kind": "resumed"}\n'


@pytest.fixture
def resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartedRun:
    """A stopped run that was resumed; its worker does nothing, and its record names a user error."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    folder = make_folder(tmp_path, status="stopped", reason="asked to", step=40, seq=5)
    folder.metrics_file.write_text(LINE)
    run = resume_run(folder)
    refused = {"status": "failed", "reason": "no such device", "user_error": True, "seq": 9}
    folder.write_record(replace(folder.load_record(), **refused))
    return run


def test_a_run_whose_resume_was_refused_has_its_previous_record_again(resumed: StartedRun) -> None:
    assert discard_failed_start(resumed) == "no such device"
    record = resumed.folder.load_record()
    assert (record.status, record.reason, record.user_error) == ("stopped", "asked to", False)
    assert (record.step, record.seq) == (40, 5), "lines written later must still be read"


def test_a_resumed_run_that_has_logged_something_stays_failed(resumed: StartedRun) -> None:
    with resumed.folder.metrics_file.open("a") as file:
        file.write(LINE)
    assert discard_failed_start(resumed) is None
    assert resumed.folder.load_record().status == "failed"
