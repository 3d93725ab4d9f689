"""The lines of metrics.jsonl and journal.jsonl: made of what happens, and read back as events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import MetricsPoint, NonFinite, nonfinite_kind
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.runtime.batching import batch

_EVENTS: dict[str, type[ev.EvaluationCompleted | ev.EpochCompleted | ev.RunResumed]] = {
    "evaluation": ev.EvaluationCompleted,
    "epoch": ev.EpochCompleted,
    "resumed": ev.RunResumed,
}
"""What a line tells of, by its kind. A line of kind `train` tells of a logged step."""

RECORDED = (ev.MetricsLogged, ev.EvaluationCompleted, ev.EpochCompleted, ev.RunResumed, ev.CommandApplied)
"""What the lines tell of."""

_FACTS = frozenset(
    {"seq", "step", "epoch", "time", "kind", "active_seconds", "seconds", "reason", "checkpoint", "nonfinite"}
)
"""Keys of a line that are not metrics."""

_JOURNALED = {"seq", "time", "step", "id", "by", "command", "detail", "result"}


def train_line(point: MetricsPoint, seq: int) -> str:
    """The line for a logged step. Non-finite metrics are null, and named below `nonfinite`."""
    flags = {name: kind for name, value in point.metrics.items() if (kind := nonfinite_kind(value))}
    metrics = {name: None if name in flags else float(value) for name, value in point.metrics.items()}
    facts = {"step": point.step, "epoch": point.epoch, "time": point.time, "kind": "train"}
    return _line({"seq": seq, **facts, "active_seconds": point.active_seconds, **metrics}, flags)


def event_line(event: ev.Event) -> str | None:
    """The line for an event that belongs into metrics.jsonl; None for one that does not."""
    match event:
        case ev.EvaluationCompleted():
            own = {"kind": "evaluation", "seconds": event.seconds, "reason": event.reason, **event.metrics}
            flags: Mapping[str, NonFinite] = event.nonfinite
        case ev.EpochCompleted():
            own = {"kind": "epoch", "seconds": event.seconds, **event.metrics}
            flags = event.nonfinite
        case ev.RunResumed():
            own = {"kind": "resumed", "checkpoint": event.checkpoint}
            flags = {}
        case _:
            return None
    facts = {"seq": event.seq, "step": event.step, "epoch": event.epoch, "time": event.time}
    return _line({**facts, **own}, flags)


def gap_line(state: RunState, count: int) -> str:
    """The line that says how many lines are missing: the disk took none for so long."""
    facts = {"seq": state.seq, "step": state.step, "epoch": state.epoch, "time": time.time()}
    return _line({**facts, "kind": "gap", "lines": count}, {})


def journal_line(event: ev.CommandApplied) -> str:
    """The line for an intervention."""
    return event.model_dump_json(include=_JOURNALED)


def read_events(lines: Iterable[dict[str, Any]], split: int) -> Iterator[ev.Event]:
    """The events that the lines of metrics.jsonl tell of, neighbouring train lines as one.

    No event holds lines from both sides of the sequence number `split`. Kinds unknown here are left out.
    """
    for (kind, _), group in groupby(lines, key=lambda line: (line["kind"], line["seq"] > split)):
        if kind == "train":
            yield _metrics_logged(list(group))
        elif event_type := _EVENTS.get(kind):
            for line in group:
                yield event_type.model_validate({**line, "metrics": _metrics(line)})


def read_interventions(lines: Iterable[dict[str, Any]]) -> Iterator[ev.CommandApplied]:
    """The interventions that the lines of journal.jsonl tell of."""
    return map(ev.CommandApplied.model_validate, lines)


def _line(content: dict[str, Any], flags: Mapping[str, NonFinite]) -> str:
    return json.dumps({**content, "nonfinite": flags} if flags else content, allow_nan=False)


def _metrics(line: dict[str, Any]) -> dict[str, float | None]:
    return {name: value for name, value in line.items() if name not in _FACTS}


def _metrics_logged(lines: list[dict[str, Any]]) -> ev.MetricsLogged:
    return batch([_point(line) for line in lines], lines[0]["seq"], lines[-1]["seq"])


def _point(line: dict[str, Any]) -> MetricsPoint:
    flags = line.get("nonfinite", {})
    metrics = {
        name: float(flags.get(name, "nan")) if value is None else value
        for name, value in _metrics(line).items()
    }
    return MetricsPoint(line["step"], line["epoch"], line["time"], line["active_seconds"], metrics)
