"""A run of MLflow beside ours, on the server of MLFLOW_TRACKING_URI or in the run's folder."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from torchconsole.engine.protocol.events import RunFailed, RunFinished
from torchconsole.engine.run.names import MLFLOW
from torchconsole.engine.session.run_place import RunPlace
from torchconsole.engine.session.tracking.hyperparameters import hyperparameters
from torchconsole.engine.session.tracking.tracked_run import (
    PROJECT,
    SentValues,
    TrackedRun,
    read_tracked,
    write_tracked,
)
from torchconsole.engine.session.tracking.tracker import Item

MOST_METRICS = 1000
"""Values that MLflow takes at a time."""

MOST_PARAMS = 100
"""Settings that MLflow takes at a time."""

MOST_CHARACTERS = 500
"""Length of a setting that every server of MLflow takes."""

_REFUSED = re.compile(r"[^\w\-. /:]")
"""Characters that a name must not contain."""


class MlflowLog:
    """Sends values, settings and the end to the experiment MLFLOW_EXPERIMENT_NAME, or `torchconsole`.

    The run keeps its id over resumes. Without MLFLOW_TRACKING_URI it is in `mlflow/` in the run's folder.
    """

    def __init__(self, place: RunPlace) -> None:
        self._place = place
        self._client: MlflowClient | None = None
        self._tracked: TrackedRun | None = None
        self._params: list[Param] = []
        """Settings that a new run has not got yet."""

        self._sent_values = SentValues()
        self._is_repeating = False
        """Whether the last attempt failed, so that the server may have some or all of the same values."""

    def write(self, items: Sequence[Item]) -> None:
        """Send what is new. Raises OSError, and what MLflow raises."""
        folder = self._place.folder.path / MLFLOW
        # Read once: after a failure the file says more than was sent.
        tracked = self._tracked = self._tracked or read_tracked(folder)
        sent = copy.deepcopy(tracked)
        found = list(self._sent_values.new(items, sent))
        metrics = [
            Metric(_REFUSED.sub("_", name), value, round(values.time * 1000), values.step)
            for values in found
            for name, value in values.metrics.items()
        ]
        if metrics:
            client = self._connect(tracked)
            sent.id, sent.where = tracked.id, tracked.where
            # First, since twice would be worse than once less if the worker is killed in between.
            write_tracked(folder, sent)
            self._send(client, sent.id, metrics)
        for item in items:
            if isinstance(item, RunFinished | RunFailed) and self._client is not None:
                self._connect(tracked).set_terminated(sent.id, _status(item))
        self._tracked, self._is_repeating = sent, False

    def close(self) -> None:
        """Nothing is left open."""

    def _send(self, client: MlflowClient, id: str, metrics: list[Metric]) -> None:
        """Send values, and none that arrived in a failed attempt. Raises what MLflow raises."""
        if self._is_repeating:
            keys = {metric.key for metric in metrics}
            there = {(each.key, each.step) for key in keys for each in client.get_metric_history(id, key)}
            metrics = [metric for metric in metrics if (metric.key, metric.step) not in there]
        self._is_repeating = True
        for start in range(0, len(metrics), MOST_METRICS):
            client.log_batch(id, metrics=metrics[start : start + MOST_METRICS])

    def _connect(self, tracked: TrackedRun) -> MlflowClient:
        """Return the client of the run, which has begun and has its settings. Raises what MLflow raises."""
        local = (self._place.folder.path / MLFLOW / "mlruns").as_uri()
        client = self._client
        if client is None or (not tracked.where and client.tracking_uri != local):  # renamed while it runs
            client = self._client = self._begin(tracked, local)
        while self._params:
            client.log_batch(tracked.id, params=self._params[:MOST_PARAMS])
            del self._params[:MOST_PARAMS]
        return client

    def _begin(self, tracked: TrackedRun, local: str) -> MlflowClient:
        """Begin a run, or continue the one of `tracked`, which gets its id. Raises what MLflow raises."""
        folder = self._place.folder
        uri = os.environ.get("MLFLOW_TRACKING_URI") or local
        # Waiting before a new attempt would draw from the random numbers of the training.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
        if uri.startswith("file:"):
            # Without this MLflow requires a database, which is of no use in a run's own folder.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        client = MlflowClient(tracking_uri=uri)
        where = "" if uri == local else uri
        if tracked.id and tracked.where == where:
            client.update_run(tracked.id, status="RUNNING")
            return client
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        experiment = client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else client.create_experiment(name)
        run = client.create_run(number, run_name=folder.name)
        tracked.id, tracked.where = run.info.run_id, where
        self._params = [
            Param(_REFUSED.sub("_", key), str(value)[:MOST_CHARACTERS])
            for key, value in hyperparameters(folder).items()
        ]
        return client


def _status(event: RunFinished | RunFailed) -> str:
    if isinstance(event, RunFailed):
        return "FAILED"
    return "FINISHED" if event.status == "finished" else "KILLED"
