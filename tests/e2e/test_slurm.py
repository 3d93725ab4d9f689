"""Jobs of Slurm, with a stand-in for it: saved before the time limit, requeued, and continued exactly."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
import torch

from tests.support.program_user import User, wait_until
from tests.support.slurm import JOB, Slurm
from torchconsole.engine.client import RunFolder, connect
from torchconsole.engine.protocol.commands import PauseRun, UnpauseRun
from torchconsole.engine.protocol.events import MetricsLogged
from torchconsole.engine.run.recorded_history import read_run

SHORT = (
    "--set=data.batch_size=8",
    "--set=training.epochs=8",
    "--set=training.log_every=1",
    "--set=early_stopping=",
)


@pytest.fixture
def slurm(user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """A stand-in for Slurm; this process finds the user's runs."""
    slurm = Slurm(user)
    for name, value in user.env.items():
        if name != "PATH":
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(user.folder)
    yield slurm
    slurm.end()


def submit(user: User, *options: str) -> RunFolder:
    """Submit a job, and return the folder that its run will have."""
    done = user.run("submit", "digits-mlp", "--gpus", "0", *SHORT, *options)
    assert done.returncode == 0, done.stderr
    return RunFolder(user.runs_dir / f"digits-mlp-{JOB}")


async def pause(folder: RunFolder, job: subprocess.Popen[str]) -> None:
    """Pause the run of a job some steps after it has started."""
    pid = folder.load_record().pid if folder.run_file.exists() else None
    output = folder.path.with_name(f"{folder.name}.out")

    def is_started() -> bool:
        assert job.poll() is None, output.read_text()
        return folder.run_file.exists() and folder.load_record().pid not in (None, pid)

    wait_until(is_started, "the run to start")
    async with connect(folder) as client:
        await client.send(PauseRun())
        await client.send(UnpauseRun())
        async for event in client.events():
            if isinstance(event, MetricsLogged):
                break
        await client.send(PauseRun())
    wait_until(lambda: folder.load_record().status == "paused", "run.json to say so")


async def test_a_job_that_is_requeued_twice_is_bit_identical_to_an_undisturbed_run(
    user: User, slurm: Slurm
) -> None:
    folder = submit(user)
    for _ in range(2):
        job = slurm.start()
        await pause(folder, job)
        slurm.warn(job)
        assert slurm.take_requeues() == [f"requeue {JOB}"]
        assert folder.read_record().status == "stopped"
    job = slurm.start()
    assert job.wait(timeout=110) == 0
    assert slurm.take_requeues() == []
    assert folder.read_record().slurm == {"id": JOB, "restarts": 2}
    assert user.run("train", "digits-mlp", "--quiet", *SHORT, "--name", "undisturbed").returncode == 0
    undisturbed = RunFolder(user.runs_dir / "undisturbed")
    assert steps(folder, "train/loss") == steps(undisturbed, "train/loss")
    assert [step for step, _ in steps(folder, "train/loss")] == [*range(1, 8 * 180 + 1)]
    assert set(steps(folder, "val/loss")) == set(steps(undisturbed, "val/loss"))
    resumed, expected = weights(folder), weights(undisturbed)
    assert [name for name in expected if not torch.equal(resumed[name], expected[name])] == []


async def test_a_cancelled_job_is_saved_and_not_requeued(user: User, slurm: Slurm) -> None:
    folder = submit(user)
    job = slurm.start()
    await pause(folder, job)
    slurm.cancel(job, folder)
    assert job.wait(timeout=110) == 143
    assert slurm.take_requeues() == []
    record = folder.read_record()
    assert record.status == "stopped"
    assert (folder.checkpoints / "last").resolve().name == f"step-{record.step:08}"


async def test_a_job_without_time_for_a_step_is_not_requeued_forever(user: User, slurm: Slurm) -> None:
    folder = submit(user)
    job = slurm.start()
    wait_until(lambda: (folder.path / "worker.lock").exists(), "the worker to start")
    slurm.warn(job)
    assert slurm.take_requeues() == []
    assert (
        "not requeued: the time limit is too short" in folder.path.with_name(f"{folder.name}.out").read_text()
    )


async def test_a_job_is_continued_after_its_node_has_failed(user: User, slurm: Slurm) -> None:
    folder = submit(user)
    job = slurm.start()
    await pause(folder, job)
    slurm.kill(job, folder)
    text = folder.run_file.read_text()
    record = folder.load_record()
    elsewhere = text.replace(f'"host": "{record.host}"', '"host": "node7"').replace(record.boot_id, "another")
    folder.run_file.write_text(elsewhere)
    assert folder.read_record().status == "paused"
    assert slurm.start().wait(timeout=110) == 0
    assert folder.read_record().status == "finished"


def steps(folder: RunFolder, metric: str) -> list[tuple[int, float]]:
    """Read (step, value) of a metric from the run's files."""
    series = read_run(folder)[1][metric]
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    """Read the model's weights of the last checkpoint."""
    state = torch.load(folder.checkpoints / "last" / "state.pt", weights_only=True)
    found: dict[str, torch.Tensor] = state["model"]
    return found
