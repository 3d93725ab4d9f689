"""A run that was killed and resumed is bit-identical to one that was never stopped."""

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
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.protocol.commands import PauseRun, SaveCheckpoint, UnpauseRun
from torchconsole.engine.protocol.events import MetricsLogged
from torchconsole.engine.run.recorded_history import read_run

OVERRIDES = ("data.batch_size=8", "training.epochs=8", "training.log_every=1")
"""Epochs of 180 steps: long enough for a kill in the middle of one."""


@pytest.fixture
def runs_dir(user: User, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's runs folder; this process gets the user's environment and working folder."""
    for name, value in user.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(user.folder)
    return user.runs_dir


MULTIPLIED = (
    'schedule=[{name="ChainedScheduler", schedulers=[{name="LinearLR", total_iters=900, interval="step"}, '
    '{name="ReduceLROnPlateau", patience=0, threshold=0.1}, {name="CosineAnnealingWarmRestarts", T_0=2}]}]'
)


@pytest.mark.parametrize(
    "schedule",
    [(), ('schedule=[{name="OneCycleLR",max_lr=0.01}]',), (MULTIPLIED,)],
    ids=["cosine", "one-cycle", "multiplied"],
)
async def test_a_run_that_was_killed_twice_is_bit_identical_to_an_undisturbed_one(
    runs_dir: Path, schedule: tuple[str, ...]
) -> None:
    preset = load_preset("digits-mlp", [*OVERRIDES, *schedule])
    undisturbed, killed = await asyncio.gather(
        wait_for_end(start_run(preset, "undisturbed", runs_dir)), kill_and_resume(preset, runs_dir)
    )
    assert len([line for line in killed.metrics_file.open() if '"kind":"resumed"' in line]) == 2
    assert lines(killed, "train/loss") == lines(undisturbed, "train/loss")
    assert lines(killed, "lr") == lines(undisturbed, "lr")
    assert [step for step, _ in lines(killed, "train/loss")] == [*range(1, 8 * 180 + 1)]
    assert set(lines(killed, "val/loss")) == set(lines(undisturbed, "val/loss"))
    resumed, expected = weights(killed), weights(undisturbed)
    assert resumed.keys() == expected.keys()
    assert [name for name in resumed if not torch.equal(resumed[name], expected[name])] == []


OWN = Path(__file__).parents[1] / "support" / "own_state_task.py"
STATEFUL = (
    f'data={{name="{OWN}:Jitter", batch_size=2, num_workers=2}}',
    f'data.transforms.train=[{{name="{OWN}:Noise"}}]',
    f'model={{name="{OWN}:PlainCounting"}}',
    f'loss={{name="{OWN}:CrossEntropy"}}',
    f'schedule=[{{name="{OWN}:Wobble", interval="step"}}]',
    f'optimizer={{name="{OWN}:Noisy", lr=0.01}}',
    f'metrics=[{{name="{OWN}:Sampled"}}]',
    "early_stopping=",
    "training.log_every=1",
    "training.epochs=16",
)


async def test_a_killed_run_continues_with_the_state_of_user_code(runs_dir: Path) -> None:
    trust(OWN)
    preset = load_preset("digits-mlp", STATEFUL)
    undisturbed, killed = await asyncio.gather(
        wait_for_end(start_run(preset, "undisturbed", runs_dir)), kill_and_resume(preset, runs_dir)
    )
    for metric in ("train/loss", "lr", "val/loss", "val/sampled"):
        assert lines(killed, metric) == lines(undisturbed, metric)
    resumed, expected = weights(killed), weights(undisturbed)
    assert [name for name in resumed if not torch.equal(resumed[name], expected[name])] == []
    assert "resume-not-exact" not in killed.log_file.read_text()


async def kill_and_resume(preset: Preset, runs_dir: Path) -> RunFolder:
    """Run the preset and kill it twice, each time some steps after a checkpoint within an epoch."""
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
    return await wait_for_end(started)


async def wait_for_end(started: StartedRun) -> RunFolder:
    """Wait until the run has finished; returns its folder."""
    assert await asyncio.to_thread(started.process.wait, 60) == 0, started.folder.log_file.read_text()
    return started.folder


def lines(folder: RunFolder, metric: str) -> list[tuple[int, float]]:
    """Read (step, value) of a metric from the run's files."""
    series = read_run(folder)[1][metric]
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def weights(folder: RunFolder) -> dict[str, Any]:
    """Read the model's weights of the last checkpoint."""
    state = torch.load(folder.checkpoints / "last" / "state.pt", weights_only=True)
    weights: dict[str, Any] = state["model"]
    return weights
