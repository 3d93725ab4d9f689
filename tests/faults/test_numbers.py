"""Numbers that are not finite: shown at their step, stopped or left out, and never the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fault_runs import STEPS, Runs
from tests.support.runs import lines_of
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.training.checkpoint import read_checkpoint

Tally = Callable[[str], None]

EXPLODES = 'schedule=[{name="Table", table={"1"=0.01, "9"=1e30}}]'
"""From step 9 on the lr is so large that the weights overflow: the loss of step 10 is not finite."""


def train_lines(folder: RunFolder) -> list[dict[str, Any]]:
    """The lines of training in metrics.jsonl."""
    return [line for line in lines_of(folder.metrics_file) if line.get("kind") == "train"]


def test_a_run_that_diverges_stops_at_its_step_and_keeps_its_best(runs: Runs, tally: Tally) -> None:
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
    tally(f"32: diverged at step {last['step']}: stopped there, best and last are from before")


def skipped_in(folder: RunFolder) -> int:
    """What the last line of training says of steps left out."""
    return int(train_lines(folder)[-1]["skipped_steps"])


@pytest.mark.parametrize("fused", ["true", "false"])
def test_steps_that_diverge_are_left_out(runs: Runs, tally: Tally, fused: str) -> None:
    """The loss is beyond all numbers from step 10 on; every such step is left out, to the end."""
    optimizer = f'optimizer={{name="SGD", lr=0.01, momentum=0.9, fused={fused}}}'
    folder = runs.make(EXPLODES, optimizer, "training.nonfinite=skip")
    runs.finish(folder)
    reason = folder.load_record().reason
    skipped = skipped_in(folder)
    assert f"{skipped} steps were left out" in reason
    assert "left out" in folder.log_file.read_text()
    assert read_checkpoint(folder.checkpoints / "best")["progress"]["step"] <= 12
    tally(f"32: {skipped} steps left out with fused = {fused}, counted and told")


def test_the_schedule_stands_still_where_the_scaler_skips(runs: Runs, tally: Tally) -> None:
    """A loss times 10^4 times the scaler's 65,536 overflows fp16 until the scale has come down."""
    folder = runs.make(
        "training.precision=fp16", "loss.factor=1e4", 'schedule=[{name="ExponentialLR", gamma=0.5}]'
    )
    runs.finish(folder)
    lines = train_lines(folder)
    skipped = skipped_in(folder)
    assert skipped > 0
    assert [line["step"] for line in lines] == list(range(1, STEPS - skipped + 1))
    assert [line["lr"] for line in lines] == pytest.approx([0.01 * 0.5**n for n in range(len(lines))])
    tally(f"33: the scaler skipped {skipped} of {STEPS} steps: counted, and the schedule stood still")
