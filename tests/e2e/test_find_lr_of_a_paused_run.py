"""`find-lr` of a paused run: from its newest weights, and the run goes on as if nothing had happened."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.faulty_task import FAULT
from tests.support.worker_runs import WorkerRun, losses
from torchconsole.engine.protocol.commands import PauseRun, SaveCheckpoint, UnpauseRun
from torchconsole.engine.protocol.reports import LearningRateSearch
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import step_of_name

PROGRAM = str(Path(sys.executable).with_name("torchconsole"))
SETTINGS = (
    "optimizer={name='AdamW', lr=0.01, groups=[{match=['*.bias'], lr=0.03}]}",
    "schedule=[{name='OneCycleLR', max_lr=0.1}]",
    "training.grad_accum_steps=2",
    "training.precision=bf16",
    "training.epochs=12",
    "data.eval_batch_size=24",
)


def hashes(folder: RunFolder) -> dict[str, str]:
    """The content of a run's files, but for the record of its worker's life and its log."""
    return {
        str(path.relative_to(folder.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.path.rglob("*"))
        if path.is_file() and path.name not in ("run.json", "worker.log", "worker.lock")
    }


def found_for(folder: RunFolder) -> str:
    """What the command prints for a run."""
    command = [PROGRAM, "find-lr", str(folder.path), "--json", "--steps", "40"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


async def test_a_paused_run_is_searched_and_continues_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = WorkerRun.start(tmp_path / "whole", *SETTINGS)
    assert whole.wait() == 0

    monkeypatch.setenv(FAULT, "slow")  # its evaluations take so long that it can be paused before its end
    run = WorkerRun.start(tmp_path / "paused", *SETTINGS)
    run.wait_for_line()
    await run.send(PauseRun())
    await run.send(SaveCheckpoint())
    step = max(step_of_name(path.name) for path in run.folder.checkpoints.iterdir())
    before = hashes(run.folder)
    search = LearningRateSearch.model_validate(json.loads(await asyncio.to_thread(found_for, run.folder)))
    assert search.step == step
    assert hashes(run.folder) == before

    await run.send(UnpauseRun())
    assert run.wait() == 0
    assert losses(run.folder) == losses(whole.folder)
