"""`resume`: with more epochs, from an older checkpoint, and the reasons for which it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.program_user import User


@pytest.fixture
def finished(user: User) -> str:
    """A finished run of two epochs with the checkpoints of steps 23 and 46."""
    done = user.run(
        "train", "digits-mlp", "--headless", "--set", "training.epochs=2", "--set", "checkpoint.keep=-1"
    )
    assert done.returncode == 0, done.stderr
    [run] = user.runs()
    return run


def refusal(user: User, *arguments: str) -> str:
    """Run a command that must be refused; returns its message."""
    done = user.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def checkpoints(user: User, run: str) -> list[dict[str, Any]]:
    done = user.run("checkpoints", run, "--json")
    assert done.returncode == 0, done.stderr
    listed: list[dict[str, Any]] = json.loads(done.stdout)
    return listed


def test_a_finished_run_is_extended_with_more_epochs(user: User, finished: str) -> None:
    assert f"resume {finished} --set training.epochs=4" in refusal(user, "resume", finished)
    assert "the weights in the checkpoint belong to it" in refusal(
        user, "resume", finished, "--set", "model.hidden=[8]", "--set", "training.epochs=3"
    )
    done = user.run("resume", finished, "--headless", "--set", "training.epochs=3")
    assert done.returncode == 0, done.stderr
    assert (
        "the run is now 69 steps long: CosineAnnealingLR is stretched to it; lr at step 46: " in done.stdout
    )
    assert "finished after step 69; all epochs done" in done.stdout
    [line] = user.lines(finished, "journal.jsonl")
    assert (line["step"], line["command"]["changes"]) == (46, {"training.epochs": [2, 3]})
    assert "epochs = 3" in (user.runs_dir / finished / "preset.toml").read_text()
    assert user.runs() == [finished]
    assert [(saved["step"], saved["valid"]) for saved in checkpoints(user, finished)][:2] == [
        (69, True),
        (46, True),
    ]


def test_resuming_from_an_older_checkpoint_starts_a_run_that_names_its_parent(
    user: User, finished: str
) -> None:
    before = {path: path.read_bytes() for path in (user.runs_dir / finished).rglob("*") if path.is_file()}
    done = user.run("resume", f"{finished}@23", "--headless")
    assert done.returncode == 0, done.stderr
    [run] = set(user.runs()) - {finished}
    record = user.record(run)
    assert (record["status"], record["step"]) == ("finished", 46)
    assert record["parent"] == {
        "run": finished,
        "folder": str(user.runs_dir / finished),
        "checkpoint": "step-00000023",
        "step": 23,
    }
    [resumed] = [line for line in user.lines(run, "metrics.jsonl") if line["kind"] == "resumed"]
    assert (resumed["step"], resumed["epoch"]) == (23, 1)
    assert before == {
        path: path.read_bytes() for path in (user.runs_dir / finished).rglob("*") if path.is_file()
    }

    (user.runs_dir / finished / "checkpoints" / "step-00000023" / "state.pt").write_bytes(b"")
    assert [(saved["step"], saved["problem"][:20]) for saved in checkpoints(user, finished)] == [
        (46, ""),
        (23, "state.pt: is damaged"),
    ]
    assert "step-00000023/state.pt: is damaged" in refusal(user, "resume", f"{finished}@23")


def test_changes_of_the_policy_take_effect_and_keep_the_losses_exact(user: User, finished: str) -> None:
    changes = (
        "early_stopping=",
        "ema.decay=0.9",
        "training.nonfinite=skip",
        "training.eval_interval=step",
        "training.eval_every=10",
        "checkpoint.save_every_steps=5",
        "data.in_memory=false",
    )
    options = [part for change in changes for part in ("--set", change)]
    done = user.run("resume", f"{finished}@23", "--headless", *options)
    assert done.returncode == 0, done.stderr
    [run] = set(user.runs()) - {finished}

    def losses(name: str) -> dict[int, float]:
        lines = [line for line in user.lines(name, "metrics.jsonl") if line["kind"] == "train"]
        return {line["step"]: line["train/loss"] for line in lines}

    assert losses(run) == losses(finished)
    lines = user.lines(run, "metrics.jsonl")
    resumed = next(number for number, line in enumerate(lines) if line["kind"] == "resumed")
    evaluations = [line for line in lines[resumed:] if line["kind"] == "evaluation"]
    assert [line["step"] for line in evaluations] == [30, 40, 46]
    assert all("val/ema_loss" in line for line in evaluations)
    # One that waits to be written is replaced by the next.
    saved = {checkpoint["step"] for checkpoint in checkpoints(user, run)}
    assert saved & {25, 35, 45}
    assert saved <= {23, 25, 30, 35, 40, 45, 46}


def test_the_refusal_to_resume_after_early_stopping_names_the_key_to_set(user: User) -> None:
    options = ("--set", "early_stopping.patience=1", "--set", "early_stopping.min_delta=100.0")
    assert user.run("train", "digits-mlp", "--headless", *options).returncode == 0
    [run] = user.runs()
    assert "--set early_stopping.patience=2" in refusal(user, "resume", run, "--set", "training.epochs=100")
    done = user.run("resume", run, "--headless", "--set", "early_stopping.patience=2")
    assert "early stopping: val/loss has not improved by more than 100 for 2 evaluations" in done.stdout
