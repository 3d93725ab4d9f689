"""MLflow gets each value once, also if its disk is full for a while."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.runs import FINISHED, make_folder
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import Points

pytest.importorskip("mlflow")

from mlflow.tracking import MlflowClient

from torchconsole.engine.session.tracking import mlflow_log
from torchconsole.engine.session.tracking.mlflow_log import MlflowLog


def logged(first: int, last: int) -> ev.MetricsLogged:
    steps = range(first, last + 1)
    series = {"train/loss": Points.of(steps, [1 / step for step in steps])}
    return ev.MetricsLogged(step=last, epoch=1, active_seconds=1.0, series=series, time=1700000000.0)


def test_what_arrived_before_a_failure_is_not_sent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setattr(mlflow_log, "MOST_METRICS", 5)
    folder = make_folder(tmp_path)
    log = MlflowLog(SimpleNamespace(folder=folder))  # type: ignore[arg-type]
    log.write([logged(1, 3)])
    send, calls = MlflowClient.log_batch, []

    def fill(client: MlflowClient, *args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return send(client, *args, **options)

    monkeypatch.setattr(MlflowClient, "log_batch", fill)
    items = [logged(4, 20)]
    with pytest.raises(OSError, match="No space left"):
        log.write(items)
    log.write([*items, FINISHED])
    client = MlflowClient(tracking_uri=(folder.path / "mlflow" / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("torchconsole").experiment_id])
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(each.step, each.value) for each in history] == [(step, 1 / step) for step in range(1, 21)]
    assert run.info.status == "FINISHED"
