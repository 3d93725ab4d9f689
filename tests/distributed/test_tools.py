"""What surrounds a training by several processes: presets, resumes, and the tools that look at it."""

from __future__ import annotations

from tests.support.program_user import User
from tests.support.ranks import SECONDS, Torchrun, by_step
from torchconsole.engine.config.loading import read_preset

METRICS = ("train/loss", "lr", "val/loss")
TWO = ("--set=distributed.processes=2", "--set=training.log_every=1", "--set=training.epochs=3")


def processes_of(user: User, run: str) -> int | str:
    """Return the number of processes in a run's preset."""
    return read_preset(user.runs_dir / run / "preset.toml").distributed.processes


def test_a_preset_starts_several_processes_and_as_many_resume_the_run(user: User) -> None:
    for name, steps in (("whole", 30), ("parted", 15)):
        words = ("--quiet", "--name", name, f"--set=training.max_steps={steps}")
        done = user.run("train", "digits-mlp", *TWO, *words, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
    assert processes_of(user, "parted") == 2
    done = user.run("resume", "parted", "--quiet", "--set=training.max_steps=30", timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert "resuming with 2 processes, as before" in done.stderr
    assert by_step(user, "parted", *METRICS).items() >= by_step(user, "whole", *METRICS).items()
    done = user.run("resume", "parted", "--quiet", "--nproc=1", "--set=training.max_steps=33")
    assert done.returncode == 0, done.stderr
    assert processes_of(user, "parted") == 1


def test_the_number_of_a_launcher_is_that_of_the_run(user: User, torchrun: Torchrun) -> None:
    """A preset's own number does not count under a launcher."""
    words = ("--set=training.max_steps=3", "--set=distributed.processes=3")
    run = torchrun.train(2, "digits-mlp", *words)
    assert processes_of(user, run) == 2


def test_a_split_model_is_trained_like_a_whole_one(user: User) -> None:
    words = ("--quiet", "--set=distributed.processes=2", "--set=training.log_every=1")
    for name, where in (("whole", ""), ("split", '{"layers.1"="cpu",""="cpu"}')):
        more = ("--name", name, "--set=training.max_steps=5", f"--set=model.device_map={where}")
        done = user.run("train", "digits-mlp", *words, *more, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
    assert by_step(user, "split", *METRICS) == by_step(user, "whole", *METRICS)


def test_a_profile_of_a_live_run_shows_the_communication_of_the_first_process(user: User) -> None:
    run = user.start("--nproc", "2")
    answer = user.send(run, "profile")
    assert "of process 0 (of 2)" in answer
    assert "communication" in answer
    user.send(run, "stop")
