"""A run that was killed and resumed is bit for bit the run that was never stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.program_user import User
from torchconsole.engine.client import RunFolder, StartedRun, connect, resume_run, start_run
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.protocol.commands import PauseRun, SaveCheckpoint, UnpauseRun
from torchconsole.engine.protocol.events import MetricsLogged
from torchconsole.engine.run.recorded_history import read_run

OVERRIDES = ("data.batch_size=8", "training.epochs=8", "training.log_every=1")
"""Epochs of 180 steps: long enough for a kill in the middle of one."""


@pytest.fixture
def runs_dir(user: User, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's, with this process in the user's place."""
    for name, value in user.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(user.folder)
    return user.runs_dir


@pytest.mark.parametrize(
    "schedule", [(), ('schedule=[{name="OneCycleLR",max_lr=0.01}]',)], ids=["cosine", "one-cycle"]
)
async def test_a_run_that_was_killed_twice_ends_as_if_nothing_had_happened(
    runs_dir: Path, schedule: tuple[str, ...]
) -> None:
    preset = load_preset("digits-mlp", [*OVERRIDES, *schedule])
    whole, killed = await asyncio.gather(
        run_to_its_end(start_run(preset, "whole", runs_dir)), kill_and_resume(preset, runs_dir)
    )
    assert len([line for line in killed.metrics_file.open() if '"kind":"resumed"' in line]) == 2
    assert lines(killed, "train/loss") == lines(whole, "train/loss")
    assert lines(killed, "lr") == lines(whole, "lr")
    assert [step for step, _ in lines(killed, "train/loss")] == [*range(1, 8 * 180 + 1)]
    assert set(lines(killed, "val/loss")) == set(lines(whole, "val/loss"))
    ours, theirs = weights(killed), weights(whole)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


async def kill_and_resume(preset: Preset, runs_dir: Path) -> RunFolder:
    """The same run, killed twice some steps beyond a checkpoint that lies somewhere in an epoch."""
    started = start_run(preset, "killed", runs_dir)
    for _ in range(2):
        async with connect(started.folder) as client:
            await client.send(PauseRun())
            await client.send(UnpauseRun())
            await client.send(PauseRun())
            saved = (await client.send(SaveCheckpoint())).step
            await client.send(UnpauseRun())
            async for event in client.events():
                if isinstance(event, MetricsLogged) and event.step > saved:
                    break
            started.process.kill()
            await asyncio.to_thread(started.process.wait)
        started = resume_run(started.folder)
    return await run_to_its_end(started)


async def run_to_its_end(started: StartedRun) -> RunFolder:
    """Wait until the run has finished."""
    assert await asyncio.to_thread(started.process.wait, 60) == 0, started.folder.log_file.read_text()
    return started.folder


def lines(folder: RunFolder, metric: str) -> list[tuple[int, float]]:
    """(step, value) of a metric, as readers of the run's files fold them."""
    series = read_run(folder)[1][metric]
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def weights(folder: RunFolder) -> dict[str, Any]:
    """The model's at the run's end."""
    state = torch.load(folder.checkpoints / "last" / "state.pt", weights_only=True)
    weights: dict[str, Any] = state["model"]
    return weights
