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
from torchconsole.engine.protocol.commands import PauseRun, RollBack, SaveCheckpoint
from torchconsole.engine.run.checkpoints import folder_name
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metric_rows import MetricRows

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


def rows(folder: RunFolder) -> list[dict[str, object]]:
    """The rows of all that was logged."""
    return list(MetricRows.survey(folder))
