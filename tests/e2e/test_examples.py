"""The examples run as their first lines say."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.program_user import User

pytestmark = pytest.mark.timeout(400)

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS = {"with_lightning": "lightning", "with_transformers": "transformers", "with_accelerate": "accelerate"}
METRICS = {
    "unchanged": {"train/loss", "lr"},
    "logged": {"train/loss", "train/accuracy", "val/accuracy"},
    "resumable": {"train/loss", "train/accuracy", "val/accuracy", "lr"},
    "gan": {"train/critic", "train/generator", "lr"},
    "with_lightning": {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr"},
    "with_transformers": {"train/loss", "val/loss", "val/accuracy", "lr"},
    "with_accelerate": {"train/loss", "val/accuracy", "lr"},
}
"""Example -> what a run of it shows at least."""


def test_every_example_is_tested() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == set(METRICS)


def skip_without_library(name: str) -> None:
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is missing: make integrations")


@pytest.mark.parametrize("name", METRICS)
def test_an_example_is_a_run(user: User, name: str) -> None:
    skip_without_library(name)
    user.use_other_libraries()
    done = user.run("run", "--headless", str(EXAMPLES / f"{name}.py"), "--epochs", "2", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    [run] = user.runs()
    assert user.record(run)["status"] == "finished"
    lines = user.lines(run, "metrics.jsonl")
    assert METRICS[name] <= {metric for line in lines for metric in line}
    assert lines[-1]["epoch" if "epoch" in lines[-1] else "step"] >= 2


@pytest.mark.parametrize("name", ["logged", "gan", "with_lightning"])
def test_an_example_runs_without_torchconsole(user: User, name: str) -> None:
    skip_without_library(name)
    user.use_other_libraries()
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), "--epochs", "1"],
        cwd=user.folder,
        env={**user.env, "TORCHCONSOLE": "off"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert user.runs() == []


@pytest.mark.parametrize("name", METRICS)
def test_an_example_says_how_to_start_it(name: str) -> None:
    first = (EXAMPLES / f"{name}.py").read_text().split('"""')[1]
    assert f"torchconsole run examples/{name}.py" in first
    assert f"`{name}.py`" in (EXAMPLES / "README.md").read_text()
