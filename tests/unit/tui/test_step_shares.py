"""The parts of a step in the device pane: they add up, and the verdict names the key to change."""

from __future__ import annotations

import itertools

import pytest

from tests.support.scripted import DEVICE, TELEMETRY
from torchconsole.engine.protocol.commands import PauseRun, ProfileSteps
from torchconsole.engine.protocol.events import CommandApplied
from torchconsole.engine.protocol.info import DeviceInfo, StepTimes, Telemetry
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.step_shares import step_shares, step_times, step_verdict
from torchconsole.tui.widgets.device_pane import DevicePane
from torchconsole.tui.widgets.lines import line_width
from torchconsole.tui.widgets.step_bar import step_frame

CPU = DEVICE.model_copy(update={"device": "cpu", "gpus": []})
CONFIG = {
    "data": {"batch_size": 64, "num_workers": 2, "pin_memory": True},
    "training": {"log_every": 1, "compile": False},
}


def measured(device: DeviceInfo = CPU, **parts: float) -> tuple[ConsoleState, StepTimes]:
    """Return the state of a live run whose steps have these parts (milliseconds)."""
    times = StepTimes(parts={part: each / 1000 for part, each in parts.items()})
    telemetry = TELEMETRY.model_copy(update={"step_times": times})
    wait = parts.get("data_wait", 0.0) / sum(parts.values())
    run = RunState(
        name="x", folder="/x", device=device, telemetry=telemetry, metrics={"data_wait": wait},
        status="running", config=CONFIG,
    )  # fmt: skip
    return ConsoleState(run, connection="live"), times


PLAIN = {"data_wait": 1, "forward": 30, "backward": 55, "optimizer": 10, "other": 3, "logging": 1}


def test_the_shares_add_up_and_are_in_order() -> None:
    shares = step_shares(measured(**PLAIN)[1])
    assert sum(share.share for share in shares) == pytest.approx(1)
    assert [share.name for share in shares] == [
        "data wait", "forward", "backward", "optimizer", "other", "logging"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "forward and backward pass take 85 % of a step: the model sets the pace"),
        ({"data_wait": 101}, "the training waits for data 50% of the time; raise data.num_workers (now 2)"),
        ({"transfer": 100}, "copying batches to the GPU takes 50 % of a step; set data.in_memory = true"),
        ({"logging": 26}, "logging takes 21 % of a step; raise training.log_every (now 1)"),
        ({"other": 28}, "the loop around the model takes 22 % of a step; raise data.batch_size (now 64)"),
        ({"optimizer": 60}, "updating the weights takes 40 % of a step; raise data.batch_size (now 64)"),
    ],
)
def test_the_verdict_names_the_key_to_change(changed: dict[str, float], text: str) -> None:
    state, times = measured(**{**PLAIN, **changed})
    verdict = step_verdict(state, times)
    assert verdict.text.startswith(text)
    assert verdict.is_warning == bool(changed)
    assert any(share.tone == "attn" for share in step_shares(times)) == bool(changed)


def test_a_gpu_that_is_not_busy_needs_larger_batches() -> None:
    gpus = [TELEMETRY.gpus[0].model_copy(update={"percent": 40})]
    state, times = measured(DEVICE, **PLAIN)
    assert not step_verdict(state, times).is_warning
    state.run.telemetry = TELEMETRY.model_copy(update={"gpus": gpus, "step_times": times})
    assert step_verdict(state, times).text == (
        "the GPU is busy only 40 % of the time; raise data.batch_size (now 64) or set training.compile = true"
    )


def test_letters_tell_the_parts_apart_where_colors_do_not() -> None:
    state, _ = measured(**PLAIN, transfer=5)
    bar, *entries = step_frame(state, 102, [], boxed=False, lettered=True)[1:]
    parts = "".join(text for text, _ in bar).strip()
    assert [letter for letter, _ in itertools.groupby(parts)] == list("dfbo-lt")
    text = " ".join("".join(text for text, _ in line) for line in entries)
    for entry in (
        "d data wait",
        "f forward",
        "b backward",
        "o optimizer",
        "- other",
        "l logging",
        "t transfer",
    ):
        assert entry in text
    plain = step_frame(state, 102, [], boxed=False)[1]
    assert {text.strip("━") for text, _ in plain} == {" ", ""}


def test_unmeasured_and_ended_runs_have_no_bar() -> None:
    state, _ = measured(**PLAIN)
    state.run.telemetry = Telemetry()
    assert step_times(state) is None
    assert step_frame(state, 80, [], boxed=True) == []
    ended, _ = measured(**PLAIN)
    ended.run.status = "finished"
    assert step_times(ended) is None


def test_the_last_profile_is_shown_below_the_verdict() -> None:
    state, _ = measured(**PLAIN)
    state.run.changes = [
        CommandApplied(id="1", command=ProfileSteps(), step=1200, detail="profiled 10 steps; profile.json"),
        CommandApplied(id="2", command=PauseRun(), step=1300, detail="paused"),
    ]
    lines = step_frame(state, 80, [], boxed=False)
    assert lines[-1] == [(" ", "text"), ("step 1,200: profiled 10 steps; profile.json", "muted")]


@pytest.mark.parametrize(
    ("stage", "width", "height"),
    [("tiny", 40, 10), ("small", 80, 20), ("normal", 120, 36), ("large", 200, 56)],
)
def test_the_pane_shows_the_bar_at_every_size(stage: str, width: int, height: int) -> None:
    state, _ = measured(**PLAIN)
    pane = DevicePane(state)
    pane.stage = stage  # type: ignore[assignment]
    lines = pane.draw(width, height)
    assert len(lines) <= height
    assert all(line_width(line) <= width for line in lines)
    text = "\n".join("".join(part for part, _ in line) for line in lines)
    assert ("forward 30 %" in text and "step  100 ms" in text) == (stage != "tiny")


def test_long_waits_for_other_processes_send_to_the_ranks() -> None:
    state, times = measured(**PLAIN, communication=90)
    assert (
        step_verdict(state, times).text
        == "waiting for the other processes takes 47 % of a step; see the ranks"
    )
    state, times = measured(**PLAIN, communication=20)
    assert "the model sets the pace" in step_verdict(state, times).text
