"""A run's checkpoints are evaluated, exported, and used as initial weights of another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits

from tests.support.other_machine import output_elsewhere
from tests.support.program_user import User

SHORT = ("--headless", "--set", "training.epochs=2")


@pytest.fixture
def run(user: User) -> str:
    done = user.run("train", "digits-mlp", *SHORT, "--set", "data.test_split=0.1")
    assert done.returncode == 0, done.stderr
    [run] = user.runs()
    return run


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_evaluating_a_checkpoint_changes_nothing_in_the_run(user: User, run: str) -> None:
    before = content(user.runs_dir / run)
    done = user.run("evaluate", run, "--part", "test")
    assert done.returncode == 0, done.stderr
    assert "on 180 samples of the test data, on cpu" in done.stdout
    assert "test/accuracy" in done.stdout
    assert "test/confusion_matrix" in done.stdout
    report = json.loads(user.run("evaluate", f"{run}@last", "--json").stdout)
    recorded = [line for line in user.lines(run, "metrics.jsonl") if line["kind"] == "evaluation"][-1]
    assert report["step"] == recorded["step"] == 40
    assert report["metrics"]["val/loss"] == recorded["val/loss"]
    assert content(user.runs_dir / run) == before


def test_a_live_run_can_be_evaluated(user: User) -> None:
    run = user.start()
    user.send(run, "save")
    done = user.run("evaluate", run, "--checkpoint", "last", "--json")
    assert done.returncode == 0, done.stderr
    assert user.record(run)["status"] == "running"


def test_a_run_starts_from_exported_weights_or_from_a_run(user: User, run: str) -> None:
    done = user.run("export", run, "--output", "w.safetensors")
    assert done.returncode == 0, done.stderr
    assert "6 tensors, 17,226 parameters, step 40" in done.stdout
    again = user.run("export", run, "--output", "w.safetensors")
    assert (again.returncode, again.stdout) == (2, "")
    assert "w.safetensors already exists; pass --force" in again.stderr
    other = user.run("export", run, "--output", "w.safetensors", "--format", "state_dict")
    assert (other.returncode, other.stdout) == (2, "")
    assert "w.safetensors: the format is state_dict; add --format safetensors" in other.stderr
    for source in ("w.safetensors", run):
        started = user.run("train", "digits-mlp", *SHORT, "--from", source)
        assert started.returncode == 0, started.stderr
        assert "6 of 6 tensors loaded from " in started.stdout
        first = next(line for line in started.stdout.splitlines() if line.startswith("epoch 1/2"))
        assert "★" in first, "the first evaluation is the best one: nothing but the weights is taken over"
        assert "step 23 " in first


def test_a_whole_model_is_exported_and_compared(user: User, run: str) -> None:
    done = user.run("export", run, "--format", "torch.export")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{run}-step-00000040.pt2: 6 tensors, 17,226 parameters" in done.stdout
    assert "\ninputs: float32 (N, 1, 8, 8) -> logits: float32 (N, 10), N of any size\n" in done.stdout
    assert "\noutputs compared with the model's by torch " in done.stdout
    assert (user.folder / f"{run}-step-00000040.pt2").is_file()


def test_a_folder_predicts_without_torchconsole(user: User, run: str) -> None:
    done = user.run("export", run, "--format", "folder", "--output", "net")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"to predict: python {user.folder}/net/predict.py FILE_OR_FOLDER...\n" in done.stdout
    digits: Any = load_digits()
    torch.save({"inputs": torch.tensor(digits.images[:200]).unsqueeze(1) / 16}, user.folder / "new.pt")
    lines = output_elsewhere("net/predict.py", "new.pt", cwd=user.folder).splitlines()
    assert lines[0] == "file,row,class,probability"
    classes = [line.split(",")[2] for line in lines[1:]]
    right = [found == str(label) for found, label in zip(classes, digits.target, strict=False)]
    assert len(right) == 200
    assert sum(right) > 150, "a net that does not get its inputs as in training is right in 20"
    again = user.run("export", run, "--format", "folder", "--output", "net")
    assert again.returncode == 2
    assert "net already exists; pass --force" in again.stderr


def test_the_model_of_a_run_is_summarized_and_drawn(user: User, run: str) -> None:
    done = user.run("summary", run, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["params"] == 17_226
    both = user.run("summary", "digits-mlp", "--set", "model.hidden=[]", "--json")
    assert both.stderr == "", "no run is called digits-mlp"
    assert json.loads(both.stdout)["params"] == 650
    evaluated = user.run("evaluate", "digits-mlp")
    assert evaluated.stderr == f"torchconsole: digits-mlp is a preset: using its run {run}\n"
    pytest.importorskip("torchview")
    drawn = user.run("graph", run, "-o", "net.dot")
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert "Linear" in (user.folder / "net.dot").read_text()


def test_weights_that_do_not_fit_are_refused_and_leave_no_run(user: User, run: str) -> None:
    other = ("--from", run, "--set", "model.hidden=[128]")
    done = user.run("train", "digits-mlp", *SHORT, *other)
    assert done.returncode == 2
    assert "does not match MLP: unexpected: layers.7.weight, layers.7.bias" in done.stderr
    assert user.runs() == [run]
    done = user.run("train", "digits-mlp", *SHORT, *other, "--set", "model.strict=false")
    assert done.returncode == 0
    assert "warning: " in done.stdout
    assert "2 of 6 tensors loaded from " in done.stdout


@pytest.mark.parametrize(
    ("source", "reason"), [("none.pt", "file none.pt does not exist"), ("none", "there is no run yet")]
)
def test_a_missing_source_is_reported_in_one_line(user: User, source: str, reason: str) -> None:
    done = user.run("train", "digits-mlp", *SHORT, "--from", source)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert reason in line
