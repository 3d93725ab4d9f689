"""Texts that UTF-8 cannot hold keep no message from being sent."""

from __future__ import annotations

import math

import pytest

from torchconsole.engine.protocol.json_text import dump_json
from torchconsole.engine.protocol.messages import Snapshot, encode
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import RunState


@pytest.mark.parametrize("text", ["caf\udce9", "\ud800"])
def test_a_snapshot_with_a_name_that_is_no_utf_8_can_be_read(text: str) -> None:
    history = {"train/loss": Points(steps=[1, 2], values=[0.5, math.nan])}
    state = RunState(name="a", folder=f"/{text}/a", host=text)
    read = Snapshot.model_validate_json(encode(Snapshot(state=state, history=history)))
    assert read.state.folder == f"/{text[:-1]}?/a"
    valid = Snapshot(state=RunState(name="a", folder="/a"), history=history)
    assert read.history == Snapshot.model_validate_json(encode(valid)).history


def test_only_the_chosen_fields_are_written() -> None:
    assert dump_json(RunState(name="\ud800", folder="/a"), {"name"}) == '{"name": "?"}'
