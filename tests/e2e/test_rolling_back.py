"""A worker that is killed after it went back to a checkpoint: the run resumes on its new way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.faulty_task import FAULT
from tests.support.runs import wait_until
from tests.support.worker_runs import WorkerRun, losses
from torchconsole.engine.client.client import connect
from torchconsole.engine.client.launcher import branch_run
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.protocol.commands import (
    PauseRun,
    RollBack,
    SaveCheckpoint,
    SetLearningRate,
    StopRun,
    UnpauseRun,
)
from torchconsole.engine.run.checkpoints import folder_name
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metric_rows import MetricRows
from torchconsole.engine.run.recorded_history import read_run

SETTINGS = ("training.epochs=12", "data.eval_batch_size=24", "training.eval_interval=step")


async def test_a_killed_run_resumes_where_it_went_back_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = WorkerRun.start(tmp_path / "whole", *SETTINGS)
    assert whole.wait() == 0

    monkeypatch.setenv(FAULT, "slow")  # its evaluations take so long that it can be steered before its end
    run = WorkerRun.start(tmp_path / "run", *SETTINGS)
    run.wait_for_line()
    async with connect(run.folder) as client:
        step = (await client.send(SaveCheckpoint())).step
        wait_until(lambda: run.lines[-1]["step"] > step + 2, "further steps")
        left = (await client.send(PauseRun())).step
        await client.send(SaveCheckpoint(keep=False))
        back = await client.send(RollBack(checkpoint=folder_name(step)))
    assert (back.step, back.result["from"]) == (step, left)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()

    resumed = run.resume()
    assert resumed.wait() == 0
    marks = [(line["step"], line.get("rolled_back_from")) for line in run.lines if line["kind"] == "resumed"]
    assert marks in ([(step, left), (step, None)], [(step, None)])  # it may not have been written yet
    assert losses(resumed.folder) == losses(whole.folder)
    assert [row["step"] for row in rows(resumed.folder)] == [row["step"] for row in rows(whole.folder)]


async def test_a_new_run_goes_on_where_the_way_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way that the run took instead has another learning rate, and is in nothing of the new run."""
    whole = WorkerRun.start(tmp_path / "whole", *SETTINGS)
    assert whole.wait() == 0

    monkeypatch.setenv(FAULT, "slow")
    run = WorkerRun.start(tmp_path / "run", *SETTINGS)
    run.wait_for_line()

    def turned() -> bool:
        return any("rolled_back_from" in line for line in run.lines)

    async with connect(run.folder) as client:
        step = (await client.send(SaveCheckpoint())).step
        wait_until(lambda: run.lines[-1]["step"] > step + 2, "further steps")
        await client.send(PauseRun())
        left = (await client.send(SaveCheckpoint())).step
        await client.send(RollBack(checkpoint=folder_name(step)))
        await client.send(SetLearningRate(factor=3))
        await client.send(UnpauseRun())
        wait_until(lambda: turned() and run.lines[-1]["step"] > step + 1, "another way")
        await client.send(StopRun())
    assert run.wait() == 0

    monkeypatch.delenv(FAULT)
    abandoned = run.folder.checkpoints / f"abandoned-{folder_name(left)}"
    branch = WorkerRun(branch_run(run.folder, abandoned, read_preset(run.folder.preset_file)))
    assert branch.wait() == 0
    assert f"resumed from {folder_name(left)}" in branch.log
    assert losses(branch.folder) == losses(whole.folder)
    assert [row["step"] for row in rows(branch.folder)] == [row["step"] for row in rows(whole.folder)]
    changes = [change.command.type for change in read_run(branch.folder)[0].changes]
    assert changes == ["SaveCheckpoint", "PauseRun", "SaveCheckpoint"], "not those of the way that it took"


def rows(folder: RunFolder) -> list[dict[str, object]]:
    """The rows of all that was logged."""
    return list(MetricRows.survey(folder))
