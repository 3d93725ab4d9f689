"""Losses that are not finite: recorded at their step; the run stops or skips the step; never the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fault_runs import STEPS, Runs
from tests.support.runs import lines_of
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.training.checkpoint import read_checkpoint

Tally = Callable[[str], None]

EXPLODES = 'schedule=[{name="Table", interval="step", table={"1"=0.01, "9"=1e30}}]'
"""From step 9 on the lr is so large that the weights overflow; the loss of step 10 is not finite."""


def train_lines(folder: RunFolder) -> list[dict[str, Any]]:
    """Read the training lines in metrics.jsonl."""
    return [line for line in lines_of(folder.metrics_file) if line.get("kind") == "train"]


def test_a_run_that_diverges_stops_at_that_step_and_keeps_its_checkpoints(runs: Runs, tally: Tally) -> None:
    folder = runs.make(EXPLODES, 'optimizer={name="SGD", lr=0.01}')
    reason = runs.fail(folder)
    last = train_lines(folder)[-1]
    assert last["train/loss"] is None
    assert last["nonfinite"] == {"train/loss": "nan"}
    assert f"the loss was not finite at step {last['step']}" in reason
    for link in ("best", "last"):
        state = read_checkpoint(folder.checkpoints / link)
        assert state["progress"]["step"] < last["step"]
        assert all(value.isfinite().all() for value in state["model"].values())
    tally(f"diverged at step {last['step']}: stopped there, best and last are from earlier steps")


def skipped_steps(folder: RunFolder) -> int:
    """Return the number of skipped steps in the last training line."""
    return int(train_lines(folder)[-1]["skipped_steps"])


@pytest.mark.parametrize("fused", ["true", "false"])
def test_steps_with_a_nonfinite_loss_are_skipped(runs: Runs, tally: Tally, fused: str) -> None:
    """The loss is not finite from step 10 to the end; each of these steps is skipped."""
    optimizer = f'optimizer={{name="SGD", lr=0.01, momentum=0.9, fused={fused}}}'
    folder = runs.make(EXPLODES, optimizer, "training.nonfinite=skip")
    runs.finish(folder)
    reason = folder.load_record().reason
    skipped = skipped_steps(folder)
    assert f"{skipped} steps were skipped" in reason
    assert "skipped: the loss or a gradient was not finite" in folder.log_file.read_text()
    assert read_checkpoint(folder.checkpoints / "best")["progress"]["step"] <= 12
    tally(f"{skipped} steps skipped with fused = {fused}, counted and logged")


def test_the_schedule_does_not_advance_at_steps_that_the_scaler_skips(runs: Runs, tally: Tally) -> None:
    """The loss factor 10^4 and the initial scale of 65,536 overflow fp16 until the scale is lower."""
    folder = runs.make(
        "training.precision=fp16",
        "loss.factor=1e4",
        'schedule=[{name="ExponentialLR", interval="step", gamma=0.5}]',
    )
    runs.finish(folder)
    lines = train_lines(folder)
    skipped = skipped_steps(folder)
    assert skipped > 0
    assert [line["step"] for line in lines] == list(range(1, STEPS - skipped + 1))
    assert [line["lr"] for line in lines] == pytest.approx([0.01 * 0.5**n for n in range(len(lines))])
    tally(f"the scaler skipped {skipped} of {STEPS} steps: counted, and the schedule did not advance")
