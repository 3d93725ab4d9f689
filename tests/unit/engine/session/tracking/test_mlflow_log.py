"""MLflow gets each value once, also if its disk is full for a while."""

from __future__ import annotations

import random
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.runs import FINISHED, make_folder
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.run.folder import RunFolder

pytest.importorskip("mlflow")

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from torchconsole.engine.session.tracking import mlflow_log
from torchconsole.engine.session.tracking.mlflow_log import MlflowLog


def logged(first: int, last: int) -> ev.MetricsLogged:
    steps = range(first, last + 1)
    series = {"train/loss": Points.of(steps, [1 / step for step in steps])}
    return ev.MetricsLogged(step=last, epoch=1, active_seconds=1.0, series=series, time=1700000000.0)


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server, and no settings of the user's."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")


def log_of(folder: RunFolder) -> MlflowLog:
    return MlflowLog(SimpleNamespace(folder=folder))  # type: ignore[arg-type]


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int = 1) -> None:
    """Have one call of a function raise OSError."""
    function, calls = getattr(owner, name), []

    def failing(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise OSError(28, "No space left on device")
        return function(*args, **options)

    monkeypatch.setattr(owner, name, failing)


def only_run(folder: RunFolder) -> tuple[Any, list[int]]:
    """Return the only run in the folder's own store, and the steps that its history has."""
    client = MlflowClient(tracking_uri=(folder.path / "mlflow" / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("torchconsole")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return run, [each.step for each in client.get_metric_history(run.info.run_id, "train/loss")]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (mlflow_log, "write_tracked"),
        (MlflowClient, "create_run"),
        (MlflowClient, "log_batch"),
        (MlflowClient, "set_terminated"),
    ],
)
def test_a_failure_of_any_call_makes_no_second_run_and_loses_nothing(
    owner: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(monkeypatch, owner, name)
    folder = make_folder(tmp_path)
    log, items = log_of(folder), [logged(1, 3), FINISHED]
    with pytest.raises(OSError, match="No space left"):
        log.write(items)
    log.write(items)
    run, steps = only_run(folder)
    assert steps == [1, 2, 3]
    assert run.data.params["optimizer.lr"] == "0.1"
    assert run.info.status == "FINISHED"


def test_values_after_a_resume_are_not_lost_if_they_arrive_at_the_second_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path)
    log_of(folder).write([logged(1, 4)])
    fail_once(monkeypatch, MlflowClient, "log_batch")
    log, items = log_of(folder), [ev.RunResumed(step=2, epoch=1, checkpoint="step-00000002"), logged(3, 6)]
    with pytest.raises(OSError, match="No space left"):
        log.write(items)
    log.write(items)
    assert only_run(folder)[1] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_is_renamed_keeps_its_local_run(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    place = SimpleNamespace(folder=folder)
    log = MlflowLog(place)  # type: ignore[arg-type]
    log.write([logged(1, 3)])
    place.folder = RunFolder(folder.path.rename(tmp_path / "renamed"))
    log.write([logged(4, 6)])
    place.folder = RunFolder(place.folder.path.rename(tmp_path / "again"))
    log.write([FINISHED])
    run, steps = only_run(place.folder)
    assert steps == [1, 2, 3, 4, 5, 6]
    assert run.info.status == "FINISHED"
    assert not folder.path.exists()


class Busy(BaseHTTPRequestHandler):
    """A server that is busy at first, and refuses the third request."""

    answers = iter((503, 503, 400, 200))

    def do_GET(self) -> None:
        self.send_response(next(self.answers))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_busy_server_does_not_change_the_random_numbers_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        log = log_of(make_folder(tmp_path))
        before = random.getstate()
        with pytest.raises(MlflowException):
            log.write([logged(1, 3)])
        assert next(Busy.answers) == 200  # so that it has tried again twice
        assert random.getstate() == before
        server.shutdown()


def test_what_arrived_before_a_failure_is_not_sent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
