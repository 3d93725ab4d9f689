"""scalars.csv, as the training goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.runs import Served, limit_file_size, log_steps, make_folder, wait_until
from torchconsole.engine.config.tracking_schema import TrackingConfig
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metric_rows import MetricRows
from torchconsole.engine.session.tracking import tracker
from torchconsole.engine.session.tracking.csv_file import CsvFile
from torchconsole.engine.session.tracking.trackers import Trackers
from torchconsole.tui.cli.metric_tables import MetricTable


@contextmanager
def tracked(folder: RunFolder) -> Iterator[Served]:
    """Serve a run whose metrics also go to scalars.csv."""
    trackers = Trackers()
    served = Served(folder)
    with served:
        trackers.open(TrackingConfig(csv=True), served.server.place)
        served.server.subscribe(trackers.receive)
        yield served
    trackers.close()


def exported(folder: RunFolder) -> str:
    """Return what `torchconsole metrics RUN --format csv` prints."""
    text = io.StringIO()
    MetricTable([MetricRows.survey(folder)]).write_csv(text)
    return text.getvalue()


def steps(folder: RunFolder) -> list[int]:
    """Return the steps in scalars.csv; none if there is no such file."""
    if not folder.csv_file.exists():
        return []
    return [int(row["step"]) for row in csv.DictReader(io.StringIO(folder.csv_file.read_text()))]


def evaluation(step: int, **metrics: float) -> ev.EvaluationCompleted:
    return ev.EvaluationCompleted(step=step, epoch=1, metrics={"val/loss": 0.25, **metrics}, seconds=0.1)


def test_it_has_the_rows_of_the_command_metrics_while_the_training_goes_on(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    with tracked(folder) as served:
        log_steps(served.event_queue, 1, 10)
        wait_until(lambda: steps(folder) == [*range(1, 11)])
        served.event_queue.emit(evaluation(10))
        wait_until(lambda: "val/loss" in folder.csv_file.read_text())
        assert folder.csv_file.read_text() == exported(folder)
        log_steps(served.event_queue, 11, 20)
        wait_until(lambda: steps(folder) == [*range(1, 21)])
        served.event_queue.emit(evaluation(20))
        wait_until(lambda: folder.csv_file.read_text().count(",0.25") == 2)
        assert folder.csv_file.read_text() == exported(folder)
        served.event_queue.emit(evaluation(30, **{"val/accuracy": float("nan")}))
    assert steps(folder) == [*range(1, 21), 30]
    assert folder.csv_file.read_text() == exported(folder)


def test_a_resume_takes_out_what_it_makes_void(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    with tracked(folder) as served:
        log_steps(served.event_queue, 1, 10)
    with tracked(folder) as served:
        served.event_queue.emit(ev.RunResumed(step=6, epoch=1, checkpoint="step-00000006"))
        log_steps(served.event_queue, 7, 12)
    assert steps(folder) == [*range(1, 13)]
    assert folder.csv_file.read_text() == exported(folder)


def test_a_failure_is_reported_once_and_costs_no_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_folder(tmp_path)
    folder.csv_file.mkdir()  # nothing can be written in its place
    with tracked(folder) as served:
        log_steps(served.event_queue, 1, 10)
        wait_until(lambda: caplog.messages, "a report")
        log_steps(served.event_queue, 11, 20)
        folder.csv_file.rmdir()
        wait_until(lambda: steps(folder) == [*range(1, 21)])
        wait_until(lambda: len(caplog.messages) == 2)
    failed, written = caplog.messages
    assert failed == "tracking.csv: cannot be written: Is a directory; will try again"
    assert written == "tracking.csv: can be written again"
    assert folder.csv_file.read_text() == exported(folder)


def test_a_full_disk_costs_no_row(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    with Served(folder) as served:
        log_steps(served.event_queue, 1, 10)
    table = CsvFile(SimpleNamespace(folder=folder))  # type: ignore[arg-type]
    table.write([])
    with Served(folder) as served:
        log_steps(served.event_queue, 11, 20)
    with limit_file_size(folder.csv_file.stat().st_size + 10), pytest.raises(OSError, match="too large"):
        table.write([])
    table.write([])
    table.close()
    assert folder.csv_file.read_text() == exported(folder)
    assert steps(folder) == [*range(1, 21)]


@pytest.fixture(autouse=True)
def period(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write so often that no test has to wait for it."""
    monkeypatch.setattr(tracker, "PERIOD", 0.02)
