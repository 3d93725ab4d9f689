"""`torchconsole events`: one event per line, for programs and for people."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from tests.support.runs import FINISHED, STARTED, Served, log_steps, make_folder, wait_until
from torchconsole.engine.client import connect
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import ChangePreset, ChangeSetting, SetLearningRate, StopRun
from torchconsole.engine.protocol.rank_loads import RankLoad
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.cli.events import events, format_event


@pytest.fixture
def ended(tmp_path: Path) -> RunFolder:
    """A run of three steps."""
    with Served(make_folder(tmp_path)) as served:
        served.event_queue.emit(STARTED)
        log_steps(served.event_queue, 1, 3)
        command = SetLearningRate(factor=0.5)
        served.event_queue.emit(
            ev.CommandApplied(id="c", command=command, step=3, by="me@pts/1", detail="lr\x1b[2J")
        )
        served.event_queue.emit(FINISHED)
    return served.folder


def test_each_line_is_an_event(ended: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert events(str(ended.path), as_json=True) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["type"] for event in listed] == [*["MetricsLogged"] * 3, "CommandApplied", "RunFinished"]
    assert [event["seq"] for event in listed] == [2, 3, 4, 5, 6]
    assert listed[1]["series"]["train/loss"]["values"] == [0.5]
    assert (listed[3]["by"], listed[4]["reason"]) == ("me@pts/1", "all epochs done")


def test_without_json_an_event_is_one_printable_line(
    ended: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    events(str(ended.path), follow=True)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    metrics, _, _, applied, finished = [line.split(maxsplit=1)[1] for line in out.splitlines()]
    assert metrics == "MetricsLogged       step=1  epoch=1  active_seconds=0.01  train/loss=1  lr=0.1"
    assert "by=me@pts/1" in applied
    assert finished.endswith("reason=all epochs done  step=1000  epoch=10")


def test_a_changed_setting_is_told_once_and_without_python() -> None:
    changed = ev.CommandApplied(
        id="c",
        command=ChangeSetting(key="training.clip_norm", value="0.5"),
        step=3,
        by="me@pts/1",
        detail="training.clip_norm unset -> 0.5",
        result={"key": "training.clip_norm", "before": None, "after": 0.5},
    )
    assert format_event(changed).split(maxsplit=1)[1] == (
        "CommandApplied      id=c  key=training.clip_norm  value=0.5  step=3  by=me@pts/1  "
        "detail=training.clip_norm unset -> 0.5"
    )
    again = ChangePreset(changes={"training.clip_norm": (None, 0.5)})
    restored = changed.model_copy(update={"command": again, "result": {}})
    assert "None" not in format_event(restored)
    evaluated = ev.EvaluationCompleted(step=3, epoch=1, metrics={"val/loss": None}, seconds=1.0)
    assert "val/loss=none" in format_event(evaluated)


async def test_a_live_run_is_followed_to_its_end(
    standin: tuple[RunFolder, subprocess.Popen[bytes]], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, _ = standin
    following = asyncio.create_task(asyncio.to_thread(events, str(folder.path), follow=True, as_json=True))
    async with connect(folder) as client:
        await asyncio.to_thread(wait_until, lambda: folder.load_record().step > 20)
        await client.send(StopRun())
    assert await following == 0
    listed = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert listed[-1]["type"] == "RunFinished"
    steps = [event["step"] for event in listed if event["type"] == "MetricsLogged"]
    assert steps == [*range(1, len(steps) + 1)]


def test_the_loads_of_many_processes_are_one_short_line() -> None:
    def load(rank: int, communication: float) -> RankLoad:
        return RankLoad(
            rank=rank, host="gpu-07", device="cpu", step_seconds=1.0, communication_seconds=communication
        )

    event = ev.RanksMeasured(ranks=[load(0, 0.5), load(1, 0.0)])
    assert format_event(event).split(maxsplit=1)[1] == (
        "RanksMeasured       ranks=2  straggler=rank 1 (gpu-07, cpu) computes slowly: the others wait 500 ms "
        "of each step for it"
    )
    assert format_event(ev.RanksMeasured(ranks=[load(0, 0.5)])).endswith("ranks=1")
