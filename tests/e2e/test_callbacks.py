"""The callbacks for Lightning and transformers: a training is a run, in the worker and in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.framework_programs import PROGRAMS
from tests.support.program_user import User, wait_until

pytestmark = pytest.mark.timeout(400)

SLOW, ENDLESS = "0.02", "100000"
SECONDS = 200.0
"""Importing transformers takes long on a busy machine."""

FRAMEWORKS = [
    pytest.param(name, marks=pytest.mark.skipif(not find_spec(name), reason=f"{name}: make integrations"))
    for name in PROGRAMS
]


class Training:
    """A training with a callback, begun by `python` or by `torchconsole run`."""

    def __init__(self, user: User, framework: str, *, by_python: bool = False) -> None:
        user.use_other_libraries()
        (user.folder / "train.py").write_text(PROGRAMS[framework])
        self.user = user
        self.by_python = by_python
        self.process: subprocess.Popen[str] | None = None

    def begin(self, *arguments: str) -> str:
        """Begin it, and return the run's name once it trains."""
        before = set(self.user.runs())
        if self.by_python:
            self.process = subprocess.Popen(
                [sys.executable, "train.py", *arguments],
                cwd=self.user.folder,
                env=self.user.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            [run] = wait_until(lambda: set(self.user.runs()) - before, "the run", SECONDS)
        else:
            run = self.user.run("run", "--detach", "train.py", *arguments).stdout.strip()
        wait_until(lambda: self.user.last_step(run) > 0, "the first step", SECONDS)
        return run

    def output(self, run: str) -> str:
        """Return what the program has printed, once it has ended."""
        if self.process is not None:
            return self.process.communicate(timeout=SECONDS)[0]
        wait_until(lambda: self.user.record(run)["status"] not in ("running", "starting"), "the end", SECONDS)
        return (self.user.runs_dir / run / "worker.log").read_text()


def checkpoints(user: User, run: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(user.run("checkpoints", run, "--json").stdout)
    return found


@pytest.mark.parametrize("by_python", [False, True], ids=["torchconsole run", "python"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_training_is_steered_and_resumed(user: User, framework: str, by_python: bool) -> None:
    training = Training(user, framework, by_python=by_python)
    run = training.begin(SLOW, ENDLESS)
    assert "lr 0.1 -> 0.05" in user.send(run, "lr", "x0.5")
    assert "paused" in user.send(run, "pause")
    step = user.record(run)["step"]
    saved = user.send(run, "save")
    assert ("saved checkpoint-" if framework == "transformers" else "saved step-") in saved
    assert user.record(run)["step"] == step
    user.send(run, "unpause")
    assert "lr 0.05 -> 0.02, held" in user.send(run, "hold", "0.02")
    user.send(run, "stop")
    output = training.output(run)
    # The framework has called its own hooks, and has seen its own lr only.
    last = user.record(run)["step"]
    lr = 0.01 if framework == "lightning" else 0.1
    assert f"on_train_end {last} {lr}" in output
    assert "after fit" in output
    assert user.runs() == [run]
    assert user.record(run)["status"] == "stopped"
    lines = user.lines(run, "metrics.jsonl")
    names = {name for line in lines for name in line if "/" in name}
    assert names == {"train/loss", "val/loss"} | (
        {"train/acc"} if framework == "lightning" else {"train/grad_norm"}
    )
    listed = checkpoints(user, run)
    assert [(it["step"], it["kept"], it["valid"]) for it in listed] == [
        (last, False, True),
        (step, True, True),
    ]
    path = listed[1]["resume"].split("=", 1)[1].strip("')")
    assert Path(path).exists()
    assert listed[0]["resume"] in user.run("resume", run).stderr

    resumed = training.begin(SLOW, ENDLESS, path)
    assert user.lines(resumed, "metrics.jsonl")[0]["step"] == step + 1
    lr = wait_until(lambda: user.record(resumed)["lr"], "its lr in the record", SECONDS)
    assert lr == pytest.approx(0.05)  # the scale is in the checkpoint
    user.send(resumed, "stop")
    assert "after fit" in training.output(resumed)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_training_that_fails_is_a_failed_run(user: User, framework: str) -> None:
    training = Training(user, framework, by_python=True)
    run = training.begin("0", "-3")
    assert "KeyError: 'broken'" in training.output(run)
    record = user.record(run)
    assert (record["status"], record["step"]) == ("failed", 2)
    assert "KeyError: 'broken'" in record["reason"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_without_torchconsole_the_callback_does_nothing(user: User, framework: str) -> None:
    user.env["TORCHCONSOLE"] = "off"
    training = Training(user, framework)
    done = subprocess.run(
        [sys.executable, "train.py", "0", "2"], cwd=user.folder, env=user.env, capture_output=True, text=True
    )
    assert "on_train_end 6" in done.stdout, done.stderr
    assert training.user.runs() == []
