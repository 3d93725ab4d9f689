"""Imported runs are read like any other, and refuse to be resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from torchconsole.engine.client.client import connect
from torchconsole.engine.client.launcher import resume_run
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.info import Best
from torchconsole.engine.run.deletion import delete_run
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.imports import writing
from torchconsole.engine.run.imports.recording import Recording
from torchconsole.engine.run.imports.writing import write_recording
from torchconsole.engine.run.metric_rows import MetricRows
from torchconsole.engine.run.recorded_history import read_run
from torchconsole.engine.run.registry import list_runs
from torchconsole.engine.run.script_runs import refuse_script, resume_advice


@pytest.fixture
def recording() -> Recording:
    found = Recording("net a", "/elsewhere/logs", "TensorBoard")
    for step in range(1, 11):
        found.add(step, "train/loss", 1 / step, 1000.0 + step)
        found.steps[step].epoch = 1 + step // 6
    for step, loss in ((5, 0.5), (10, 0.75), (12, float("nan"))):
        found.add(step, "val/loss", loss, 1000.0 + step)
    found.settings = {"lr": 0.1, "net": {"width": 3, "none": None}, "big": 2**70}
    return found


def test_history_state_and_settings_are_there(tmp_path: Path, recording: Recording) -> None:
    folder = write_recording(recording, tmp_path)
    state, history = read_run(folder)
    assert history["train/loss"].values.tolist() == [1 / step for step in range(1, 11)]
    assert history["val/loss"].steps.tolist() == [5, 10, 12]
    assert (state.status, state.step, state.epoch, state.total_steps) == ("finished", 12, 2, 12)
    assert state.best == Best(metric="val/loss", value=0.5, step=5)
    assert (state.created, state.active_seconds) == (1001.0, 9.0)
    assert state.config["settings"] == {"lr": 0.1, "net": {"width": 3}, "big": str(2**70)}
    assert state.reason == "imported from /elsewhere/logs (TensorBoard)"
    rows = list(MetricRows.survey(folder))
    assert [row["step"] for row in rows] == [*range(1, 11), 12]
    assert rows[4]["val/loss"] == 0.5


async def test_it_is_listed_attached_to_and_deleted(tmp_path: Path, recording: Recording) -> None:
    folder = write_recording(recording, tmp_path, "mine")
    assert folder.name.startswith("mine-")
    (record,) = list_runs(tmp_path)
    assert (record.name, record.title, record.status, record.preset) == (
        folder.name, "net a", "finished", "imported",
    )  # fmt: skip
    async with connect(folder) as client:
        assert not client.live
        assert client.snapshot.history["train/loss"].steps == [*range(1, 11)]
    assert delete_run(folder).left == []


def test_it_is_never_resumed(tmp_path: Path, recording: Recording) -> None:
    folder = write_recording(recording, tmp_path)
    with pytest.raises(RunError, match="cannot resume it, because it was imported from /elsewhere/logs"):
        resume_run(folder)
    with pytest.raises(RunError, match="cannot evaluate it, because it was imported"):
        refuse_script(folder, "evaluate")
    assert resume_advice(folder) == "it cannot be resumed: it was imported from /elsewhere/logs"


def test_a_folder_that_cannot_be_written_is_named(recording: Recording) -> None:
    with pytest.raises(RunError, match="/proc/runs: cannot create a run folder here"):
        write_recording(recording, Path("/proc/runs"))


def test_what_is_no_text_is_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"net-\xff")
    found = Recording(name, f"/logs/{name}", "wandb")
    found.add(1, "train/loss", 0.5)
    found.settings = {"\ud800": "a\nb\ud800"}
    folder = write_recording(found, tmp_path)
    state, _ = read_run(folder)
    assert state.reason == "imported from /logs/net-\\xff (wandb)"
    assert state.config["title"] == "net-\\xff"
    assert state.config["settings"] == {"\\ud800": "a\nb\\ud800"}


def test_settings_that_are_nested_too_deeply_are_cut(tmp_path: Path, recording: Recording) -> None:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    recording.settings = {"deep": deep}
    state, _ = read_run(write_recording(recording, tmp_path))
    assert '["..."]' in json.dumps(state.config["settings"])


def test_nothing_is_left_of_a_run_that_cannot_be_written(
    tmp_path: Path, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: RunFolder) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "register", fail)
    with pytest.raises(KeyboardInterrupt):
        write_recording(recording, tmp_path)
    assert list(tmp_path.iterdir()) == []
