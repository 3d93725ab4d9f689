"""Little waits for a slow client, and only metrics are merged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.support.runs import point
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import PauseRun
from torchconsole.engine.protocol.info import Telemetry
from torchconsole.engine.protocol.messages import WORKER_MESSAGE
from torchconsole.engine.protocol.rank_loads import RankLoad
from torchconsole.engine.session.connection import MAX_POINTS, MAX_WAITING_POINTS, SendBuffer, merge, thin
from torchconsole.engine.session.event_store import combine

EVALUATED = ev.EvaluationCompleted(step=1, epoch=1, metrics={}, seconds=1)


def logged(*steps: int) -> ev.MetricsLogged:
    return combine([point(step, loss=1 / step) for step in steps], steps[0], steps[-1])


def sent(buffer: SendBuffer) -> list[Any]:
    lines = b""
    while chunk := buffer.take():
        lines += chunk
    return [WORKER_MESSAGE.validate_json(line) for line in lines.splitlines()]


def test_messages_are_sent_in_order() -> None:
    buffer = SendBuffer()
    for message in (ev.PhaseChanged(phase="saving"), logged(1), EVALUATED, ev.PhaseChanged(phase="training")):
        buffer.put(message)
    assert [message.type for message in sent(buffer)] == [
        "PhaseChanged",
        "MetricsLogged",
        "EvaluationCompleted",
        "PhaseChanged",
    ]
    assert len(buffer) == 0


def test_waiting_metrics_are_merged_across_routine_events() -> None:
    buffer = SendBuffer()
    for message in (logged(1, 2), EVALUATED, logged(3)):
        buffer.put(message)
    evaluated, metrics = sent(buffer)
    assert evaluated == EVALUATED
    assert (metrics.step, metrics.seq) == (3, 3)
    assert metrics.series["train/loss"].steps == [1, 2, 3]


def test_metrics_are_not_merged_across_events_that_change_their_meaning() -> None:
    applied = ev.CommandApplied(id="1", command=PauseRun(), step=2)
    resumed = ev.RunResumed(step=1, epoch=1, checkpoint="x")
    for barrier in (resumed, applied, ev.RunPaused(step=2)):
        buffer = SendBuffer()
        for message in (logged(1, 2), barrier, logged(3)):
            buffer.put(message)
        assert [message.type for message in sent(buffer)] == [
            "MetricsLogged",
            barrier.type,
            "MetricsLogged",
        ]


def test_metrics_that_were_sent_are_not_merged() -> None:
    buffer = SendBuffer()
    buffer.put(logged(1))
    assert len(sent(buffer)) == 1
    buffer.put(logged(2))
    assert sent(buffer)[0].series["train/loss"].steps == [2]


def test_only_the_newest_telemetry_waits() -> None:
    buffer = SendBuffer()
    for percent in (1.0, 2.0, 3.0):
        buffer.put(ev.TelemetryMeasured(telemetry=Telemetry(cpu_percent=percent)))
        buffer.put(ev.RanksMeasured(ranks=[RankLoad(rank=0, host="a", device="cpu", percent=percent)]))
    measured, ranks = sent(buffer)
    assert measured.telemetry.cpu_percent == 3.0
    assert ranks.ranks[0].percent == 3.0


def test_an_hour_of_metrics_waits_in_one_small_message() -> None:
    buffer = SendBuffer()
    for step in range(1, 36_000, 10):
        buffer.put(logged(*range(step, step + 10)))
    assert len(buffer) == 1
    (metrics,) = sent(buffer)
    assert len(metrics.series["train/loss"].steps) <= MAX_WAITING_POINTS
    assert max(metrics.series["train/loss"].rows().high) == 1.0, "extremes are kept"


def test_a_long_batch_is_thinned_to_its_extremes() -> None:
    points = [point(step, loss=math.nan if step == 777 else math.sin(step)) for step in range(1, 2001)]
    complete = combine(points, 1, 2000)
    thinned = thin(complete).series["train/loss"]
    assert len(thinned.steps) <= MAX_POINTS
    assert thinned.nonfinite
    finite = [value for value in complete.series["train/loss"].values if value is not None]
    rows = thinned.rows()
    assert (np.nanmin(rows.low), np.nanmax(rows.high)) == (min(finite), max(finite))
    assert rows.counts.sum() == 2000


def test_batches_with_different_metrics_are_merged() -> None:
    first = combine([point(1, grad_norm=2.0)], 1, 1)
    merged = merge(first, combine([point(2)], 2, 2))
    assert merged.series["grad_norm"].steps == [1]
    assert merged.series["train/loss"].steps == [1, 2]
