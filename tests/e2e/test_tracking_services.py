"""Runs that also go to Weights & Biases and MLflow, without a network (`make integrations`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import lines_of
from tests.support.worker_runs import WorkerRun
from torchconsole.engine.client.launcher import resume_run
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.config.resume_policy import change_preset
from torchconsole.engine.run.deletion import delete_run
from torchconsole.engine.run.folder import RunFolder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No login, no server, and no settings of the user's."""
    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def losses(folder: RunFolder) -> list[tuple[int, float]]:
    """Return (step, loss) of each logged step."""
    lines = lines_of(folder.metrics_file)
    return [(line["step"], line["train/loss"]) for line in lines if line["kind"] == "train"]


def mlflow_run(folder: RunFolder) -> tuple[Any, list[tuple[int, float]]]:
    """Return the only run in the folder's own store, and its (step, loss)."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(folder.path / "mlflow" / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("torchconsole")
    (found,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(found.info.run_id, "train/loss")
    return found, [(each.step, each.value) for each in history]


def test_mlflow_gets_values_settings_and_the_end(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    run = WorkerRun.start(tmp_path, "tracking.mlflow=true")
    assert run.wait() == 0, run.log
    found, history = mlflow_run(run.folder)
    assert found.info.run_name == run.folder.name
    assert found.info.status == "FINISHED"
    assert found.data.params["optimizer.name"] == "AdamW"
    assert history == losses(run.folder)
    assert "val/loss" in found.data.metrics
    assert delete_run(run.folder).left == []


def test_mlflow_continues_its_run_after_a_resume(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    run = WorkerRun.start(tmp_path, "tracking.mlflow=true", "training.epochs=2")
    assert run.wait() == 0, run.log
    longer = change_preset(read_preset(run.folder.preset_file), ["training.epochs=4"])
    resumed = WorkerRun(resume_run(run.folder, longer))
    assert resumed.wait() == 0, resumed.log
    found, history = mlflow_run(run.folder)
    assert found.info.status == "FINISHED"
    assert history == losses(run.folder)
    assert history[-1][0] == 24


def test_wandb_writes_offline_runs_that_can_be_sent_later(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run = WorkerRun.start(tmp_path, "tracking.wandb=true")
    assert run.wait() == 0, run.log
    (file,) = run.folder.path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"train/loss" in file.read_bytes()
    assert "error" not in run.log.lower()
    assert delete_run(run.folder).left == []
