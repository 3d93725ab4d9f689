"""Messages are decoded as they were encoded, and invalid ones are rejected with a reason."""

from __future__ import annotations

import json
import warnings

import pytest
from pydantic import ValidationError

from torchconsole.engine.protocol.commands import Command, PauseRun, SaveCheckpoint, SetLearningRate, StopRun
from torchconsole.engine.protocol.events import CommandApplied, EvaluationCompleted, MetricsLogged
from torchconsole.engine.protocol.messages import (
    CLIENT_MESSAGE,
    WORKER_MESSAGE,
    CommandRequest,
    Snapshot,
    encode,
    explain,
)
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import RunState


@pytest.mark.parametrize(
    "command",
    [
        PauseRun(),
        SetLearningRate(factor=0.5),
        StopRun(reason="enough"),
        SaveCheckpoint(),
        SaveCheckpoint(keep=False),
    ],
)
def test_a_command_is_decoded_as_it_was_encoded(command: Command) -> None:
    request = CommandRequest(id="a1", command=command)
    line = encode(request)
    assert line.count(b"\n") == 1
    assert CLIENT_MESSAGE.validate_json(line) == request


def test_a_plain_save_is_one_that_older_workers_know() -> None:
    assert SaveCheckpoint().model_dump(mode="json") == {"type": "SaveCheckpoint"}
    applied = CommandApplied(id="1", command=SaveCheckpoint(), step=3)
    with warnings.catch_warnings(action="error"):
        assert applied.model_dump(exclude_defaults=True)["command"] == {}


def test_an_event_and_a_snapshot_are_decoded_as_they_were_encoded() -> None:
    event = MetricsLogged(
        step=2, epoch=1, active_seconds=0.5, series={"train/loss": Points.of([1, 2], [0.5, float("nan")])}
    )
    snapshot = Snapshot(state=RunState(name="r", folder="/r"), history={"lr": Points.of([1], [0.1])})
    for message in (event, snapshot):
        line = encode(message)
        assert b"NaN" not in line
        assert WORKER_MESSAGE.validate_json(line) == message


def test_fields_of_later_versions_are_ignored() -> None:
    line = encode(EvaluationCompleted(step=1, epoch=1, metrics={"val/loss": 0.1}, seconds=0.1))
    later = json.dumps({**json.loads(line), "news": 1})
    assert WORKER_MESSAGE.validate_json(later).metrics == {"val/loss": 0.1}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ({"type": "SetLearningRate"}, "give either a value or a factor"),
        ({"type": "SetLearningRate", "value": 1, "factor": 2}, "give either a value or a factor"),
        ({"type": "SetLearningRate", "factor": -1}, "greater than 0"),
        ({"type": "SetLearningRate", "value": "NaN"}, "finite number"),
        ({"type": "FormatDisk"}, "FormatDisk"),
        ({"type": "PauseRun", "force": True}, "Extra inputs"),
    ],
)
def test_an_invalid_command_is_rejected_with_the_reason(command: dict[str, object], reason: str) -> None:
    line = json.dumps({"type": "command", "id": "1", "command": command})
    with pytest.raises(ValidationError) as caught:
        CLIENT_MESSAGE.validate_json(line)
    assert reason in explain(caught.value)
