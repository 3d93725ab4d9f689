"""The lines of metrics.jsonl and journal.jsonl: made of what happens, and read back as events."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby, islice
from typing import Any

from pydantic_core import to_json

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import MetricsPoint, NonFinite, Points, flag_nonfinite
from torchconsole.engine.protocol.run_state import RunState

_EVENTS: dict[str, type[ev.EvaluationCompleted | ev.EpochCompleted | ev.RunResumed]] = {
    "evaluation": ev.EvaluationCompleted,
    "epoch": ev.EpochCompleted,
    "resumed": ev.RunResumed,
}
"""What a line tells of, by its kind. A line of kind `train` tells of a logged step."""

MOST_LINES = 1000
"""Lines that one event tells of when a file is read: memory for as many, however long the file."""

RECORDED = (ev.MetricsLogged, ev.EvaluationCompleted, ev.EpochCompleted, ev.RunResumed, ev.CommandApplied)
"""What the lines tell of."""

_FACTS = frozenset(
    {"seq", "step", "epoch", "time", "kind", "active_seconds", "seconds", "reason", "checkpoint", "nonfinite"}
)
"""Keys of a line that are not metrics."""

_JOURNALED = {"seq", "time", "step", "id", "by", "command", "detail", "result"}


def train_line(point: MetricsPoint, seq: int) -> bytes:
    """The line for a logged step. Non-finite metrics are null, and named below `nonfinite`."""
    content = {
        "seq": seq,
        "step": point.step,
        "epoch": point.epoch,
        "time": point.time,
        "kind": "train",
        "active_seconds": point.active_seconds,
        **point.metrics,
    }
    if all(map(math.isfinite, point.metrics.values())):
        return to_json(content)
    return _line(content, flag_nonfinite(point.metrics)[1])


def event_line(event: ev.Event) -> bytes | None:
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


def gap_line(state: RunState, count: int) -> bytes:
    """The line that says how many lines are missing: the disk took none for so long."""
    facts = {"seq": state.seq, "step": state.step, "epoch": state.epoch, "time": time.time()}
    return _line({**facts, "kind": "gap", "lines": count}, {})


def journal_line(event: ev.CommandApplied) -> bytes:
    """The line for a change."""
    return event.model_dump_json(include=_JOURNALED).encode()


def read_events(lines: Iterable[dict[str, Any]], split: int) -> Iterator[ev.Event]:
    """The events that the lines of metrics.jsonl tell of, up to MOST_LINES neighbouring train lines as one.

    No event holds lines from both sides of the sequence number `split`. Kinds unknown here are left out.
    """
    for (kind, _), group in groupby(lines, key=lambda line: (line["kind"], line["seq"] > split)):
        if kind == "train":
            while some := list(islice(group, MOST_LINES)):
                yield _metrics_logged(some)
        elif event_type := _EVENTS.get(kind):
            for line in group:
                yield event_type.model_validate({**line, "metrics": _metrics(line)})


def read_changes(lines: Iterable[dict[str, Any]]) -> Iterator[ev.CommandApplied]:
    """The changes that the lines of journal.jsonl tell of."""
    return map(ev.CommandApplied.model_validate, lines)


def _line(content: dict[str, Any], flags: Mapping[str, NonFinite]) -> bytes:
    return to_json({**content, "nonfinite": flags} if flags else content, inf_nan_mode="null")


def _metrics(line: dict[str, Any]) -> dict[str, float | None]:
    return {name: value for name, value in line.items() if name not in _FACTS}


def _metrics_logged(lines: list[dict[str, Any]]) -> ev.MetricsLogged:
    last = lines[-1]
    names = [name for name in dict.fromkeys(chain.from_iterable(lines)) if name not in _FACTS]
    return ev.MetricsLogged(
        first_seq=lines[0]["seq"],
        seq=last["seq"],
        time=last["time"],
        step=last["step"],
        epoch=last["epoch"],
        active_seconds=last["active_seconds"],
        series={name: _column(name, lines) for name in names},
    )


def _column(name: str, lines: list[dict[str, Any]]) -> Points:
    """One metric at the steps that have it."""
    having = [line for line in lines if name in line]
    values = [line[name] for line in having]
    flags = {
        index: having[index].get("nonfinite", {}).get(name, "nan")
        for index, value in enumerate(values)
        if value is None
    }
    return Points(steps=[line["step"] for line in having], values=values, nonfinite=flags)
