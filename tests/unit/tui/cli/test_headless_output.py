"""The outputs of a headless run: quiet, JSON, and the live lines of a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.runs import make_folder
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import Best
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.cli import headless_output
from torchconsole.tui.cli.headless_output import HeadlessOutput, make_output
from torchconsole.tui.cli.live_display import LiveOutput, live_lines

PHASE = ev.PhaseChanged(phase="loading data", subject="train", done=3, total=50)


@pytest.fixture
def ended(tmp_path: Path) -> RunFolder:
    best = {"metric": "val/loss", "value": 0.5, "step": 4}
    return make_folder(tmp_path, status="finished", step=9, reason="all epochs done", best=best)


def show(output: HeadlessOutput, folder: RunFolder) -> int:
    output.begin(folder)
    output.attach(RunState(name=folder.name, folder=str(folder.path)))
    output.receive(PHASE)
    output.close()
    return output.end(folder)


def test_quiet_prints_only_how_the_run_ended(ended: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(make_output("quiet"), ended) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"run {ended.name} finished after step 9; all epochs done; best val/loss 0.5000")


def test_json_prints_objects_and_the_record_at_the_end(
    ended: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(make_output("json"), ended) == 0
    first, phase, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"type": "run", "name": ended.name, "folder": str(ended.path)}
    assert phase == {"type": "phase", "message": "loading data (train): 3 of 50"}
    assert (end["type"], end["status"], end["best"]["value"], end["exit_status"]) == (
        "end",
        "finished",
        0.5,
        0,
    )


def test_json_has_the_end_of_a_failed_run_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path, status="failed", reason="the loss was not finite")
    assert show(make_output("json"), folder) == 1
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["exit_status"] == 1
    assert "the loss was not finite" in err


def test_only_a_terminal_gets_the_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headless_output, "has_live_terminal", lambda: True)
    assert isinstance(make_output("progress"), LiveOutput)
    monkeypatch.setattr(headless_output, "has_live_terminal", lambda: False)
    assert type(make_output("progress")) is HeadlessOutput


def test_the_live_lines_say_where_the_run_is() -> None:
    state = RunState(
        name="run",
        folder="/runs/run",
        status="running",
        step=460,
        epoch=20,
        total_epochs=60,
        total_steps=1380,
        active_seconds=10.0,
        metrics={"train/loss": 0.1234, "lr": 0.0015, "samples_per_sec": 12345.6},
        best=Best(metric="val/loss", value=0.25, step=230),
    )
    first, second = (line.plain for line in live_lines(state))
    assert first.startswith("running ━━━")
    assert first.endswith("  33%  epoch 20/60  step 460/1,380  ETA 0:20")
    assert second == "train/loss 0.1234  lr 0.0015  speed 12,346 samples/s  ★ val/loss 0.2500 at step 230"


def test_the_live_lines_name_a_slow_phase() -> None:
    first, _ = live_lines(RunState(name="run", folder="/runs/run", phase=PHASE))
    assert first.plain == "starting loading data (train) 3 of 50  epoch 0  step 0"
