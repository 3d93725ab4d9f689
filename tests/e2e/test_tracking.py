"""Runs that also write for other tools: the same training, and each step once after a kill."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import lines_of
from tests.support.worker_runs import WorkerRun
from torchconsole.engine.client.launcher import resume_run
from torchconsole.engine.run.checkpoints import list_checkpoints
from torchconsole.engine.run.deletion import delete_run
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metric_rows import MetricRows
from torchconsole.engine.run.names import step_of_name
from torchconsole.tui.cli.metric_tables import MetricTable

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TRACKED = ("tracking.csv=true", "tracking.tensorboard=true")


def read(folder: RunFolder) -> Any:
    found = EventAccumulator(str(folder.tensorboard), size_guidance={"scalars": 0, "histograms": 0})
    found.Reload()
    return found


def exported(folder: RunFolder) -> str:
    text = io.StringIO()
    MetricTable([MetricRows.survey(folder)]).write_csv(text)
    return text.getvalue()


def losses(folder: RunFolder) -> list[tuple[int, float]]:
    """Return (step, loss) of each logged step; steps repeated after a resume replace the earlier ones."""
    lines = lines_of(folder.metrics_file)
    return sorted({line["step"]: line["train/loss"] for line in lines if line["kind"] == "train"}.items())


def approximately(losses: list[tuple[int, float]]) -> list[tuple[int, Any]]:
    """Return the losses as TensorBoard has them, as 32-bit numbers."""
    return [(step, pytest.approx(loss, rel=1e-6)) for step, loss in losses]


def finished(tmp_path: Path, *overrides: str) -> RunFolder:
    run = WorkerRun.start(tmp_path, *overrides)
    assert run.wait() == 0, run.log
    return run.folder


def test_tracking_changes_no_result_and_is_complete(tmp_path: Path) -> None:
    plain, tracked = finished(tmp_path), finished(tmp_path, *TRACKED)
    assert losses(tracked) == losses(plain)
    found = read(tracked)
    scalars = [(each.step, each.value) for each in found.Scalars("train/loss")]
    assert scalars == approximately(losses(plain))
    evaluations = [line["step"] for line in lines_of(plain.metrics_file) if line["kind"] == "evaluation"]
    names = found.Tags()["histograms"]
    assert any(name.startswith("weights/") for name in names)
    assert any(name.startswith("gradients/") for name in names)
    assert [each.step for each in found.Histograms(names[0])] == evaluations
    assert found.Tags()["graph"]
    assert len(found.Graph().node) > 1
    assert "_hparams_/session_end_info" in found.summary_metadata
    assert tracked.csv_file.read_text() == exported(tracked)
    assert not plain.csv_file.exists()
    assert not plain.tensorboard.exists()
    assert delete_run(tracked).left == []
    assert not tracked.path.exists()


def test_after_a_resume_each_step_is_there_once(tmp_path: Path) -> None:
    folder = finished(tmp_path, *TRACKED, "checkpoint.save_every_steps=5", "checkpoint.keep=-1")
    expected = losses(folder)
    # As after a kill: the files have steps that no checkpoint has.
    for checkpoint in list_checkpoints(folder.checkpoints):
        if step_of_name(checkpoint.name) > 20:
            shutil.rmtree(checkpoint)
    resumed = WorkerRun(resume_run(folder))
    assert resumed.wait() == 0, resumed.log
    (step,) = [line["step"] for line in resumed.lines if line["kind"] == "resumed"]
    assert step <= 20
    assert losses(folder) == expected
    scalars = read(folder).Scalars("train/loss")
    assert [(each.step, each.value) for each in scalars] == approximately(expected)
    rows = folder.csv_file.read_text()
    assert rows == exported(folder)
    assert [int(row.split(",")[1]) for row in rows.splitlines()[1:]] == [step for step, _ in expected]
