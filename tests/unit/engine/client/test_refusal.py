"""What is left of a start that the user's mistake kept from its first step."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.data_files import write_images
from tests.support.runs import make_folder
from torchconsole.engine.client.launcher import StartedRun, resume_run, start_run
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.run.refusal import RefusalPipe, report_reason

LINE = '{"seq": 7, "step": 40, "kind": "resumed"}\n'


@pytest.fixture
def resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartedRun:
    """A stopped run whose resume is refused because of the user's mistake."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    folder = make_folder(tmp_path, status="stopped", reason="asked to", step=40, seq=5)
    folder.metrics_file.write_text(LINE)
    run = resume_run(folder)
    refused = {"status": "failed", "reason": "no such device", "user_error": True, "seq": 9}
    folder.write_record(replace(folder.load_record(), **refused))
    return run


def test_a_refused_resume_leaves_the_run_as_it_was(resumed: StartedRun) -> None:
    assert resumed.refusal() == "no such device"
    assert resumed.refusal() == "no such device", "however often it is asked for"
    record = resumed.folder.load_record()
    assert (record.status, record.reason, record.user_error) == ("stopped", "asked to", False)
    assert (record.step, record.seq) == (40, 5), "lines written later must still be read"


def test_a_resume_that_findings_refuse_may_be_made_anyway(resumed: StartedRun) -> None:
    folder = resumed.folder
    folder.write_record(replace(folder.load_record(), can_start_anyway=True))
    assert not resumed.can_start_anyway, "before the reason is known"
    assert resumed.refusal() == "no such device"
    assert resumed.can_start_anyway
    assert not folder.load_record().can_start_anyway
    resume_run(folder, anyway=True)
    assert folder.load_record().anyway
    folder.write_record(replace(folder.load_record(), status="stopped"))
    resume_run(folder)
    assert folder.load_record().anyway, "who starts a run anyway resumes it anyway"


@pytest.mark.parametrize("can_start_anyway", [True, False])
def test_the_pipe_says_whether_a_new_run_may_be_started_anyway(can_start_anyway: bool) -> None:
    pipe = RefusalPipe()
    assert pipe.read() is None
    report_reason("all rows sum to 1", pipe.writer, can_start_anyway=can_start_anyway)
    pipe.close_writer()
    assert pipe.read() == "all rows sum to 1"
    assert pipe.can_start_anyway is can_start_anyway


def test_a_resumed_run_that_fails_after_a_step_has_failed(resumed: StartedRun) -> None:
    with resumed.folder.metrics_file.open("a") as file:
        file.write(LINE)
    assert resumed.refusal() is None
    assert resumed.folder.load_record().status == "failed"


@pytest.fixture
def new_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartedRun:
    """A new run that its worker refuses."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return start_run(load_preset("digits-mlp", ["training.device=cuda:99"]), "digits-mlp", tmp_path / "runs")


def test_a_refused_new_run_is_removed_by_its_worker(new_run: StartedRun, tmp_path: Path) -> None:
    assert new_run.process.wait(60) == 2
    assert list((tmp_path / "runs").iterdir()) == []
    assert list((tmp_path / "state").rglob("*.json")) == []
    assert "cuda:99" in (new_run.refusal() or "")


def test_a_run_that_is_removed_by_others_was_not_refused(new_run: StartedRun) -> None:
    new_run.process.kill()
    new_run.process.wait()
    shutil.rmtree(new_run.folder.path)
    assert new_run.refusal() is None


def test_a_run_that_has_made_steps_is_kept_although_none_was_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that cannot be read is the user's mistake too, but its run is more than a refused start."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for part in ("train", "val"):
        write_images(tmp_path / "images" / part, {"dark": 20, "light": 20})
    for path in sorted((tmp_path / "images" / "train").rglob("*.png"))[-3:]:
        path.write_bytes(path.read_bytes()[:40])
    overrides = [
        'data={name="ImageFolder", batch_size=1, in_memory=false, num_workers=0, normalize="none"}',
        f"data.root={tmp_path / 'images'}",
        "training.log_every=1000",
    ]
    started = start_run(load_preset("digits-mlp", overrides), "digits-mlp", tmp_path / "runs")
    assert started.process.wait(60) == 2
    record = started.folder.load_record()
    assert (record.status, record.user_error) == ("failed", True)
    assert "cannot read" in record.reason
    assert started.refusal() is None
