"""`torchconsole checkpoints`: what a run has saved, and whether it can be trusted."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from torchconsole.tui.cli.options import AsJson, RunName, RunsDir
from torchconsole.tui.cli.output import print_json, print_table

if TYPE_CHECKING:
    from torchconsole.engine.run.checkpoints import CheckpointInfo

HEADINGS = ("CHECKPOINT", "STEP", "EPOCH", "IS", "METRICS", "SIZE", "AGE", "STATE")
NUMBERS = (1, 2, 5, 6)
MOST_METRICS = 3


def checkpoints(run: RunName, as_json: AsJson = False, runs_dir: RunsDir = None) -> int:
    """List a run's checkpoints, the newest first.

    Each is checked against its sha256; a damaged one is said to be so.
    """
    from torchconsole.engine.run.checkpoints import describe_checkpoints
    from torchconsole.engine.run.registry import find_run

    folder = find_run(run, runs_dir)
    found = describe_checkpoints(folder)
    if as_json:
        print_json([{**asdict(checkpoint), "valid": not checkpoint.problem} for checkpoint in found])
    elif found:
        now = time.time()
        print_table(HEADINGS, [_cells(checkpoint, now) for checkpoint in found], right=NUMBERS)
    else:
        print(f"{folder.name} has no checkpoint yet")
    return 0


def _cells(checkpoint: CheckpointInfo, now: float) -> list[str]:
    from torchconsole.tui.formatting import format_bytes, format_metric
    from torchconsole.tui.run_listing import format_age

    roles = {"best": checkpoint.best, "last": checkpoint.last, "saved by hand": checkpoint.kept}
    metrics = [
        f"{name} {'not finite' if value is None else format_metric(value)}"
        for name, value in checkpoint.metrics.items()
        if name.count("/") < 2
    ]
    return [
        checkpoint.name,
        f"{checkpoint.step:,}",
        "" if checkpoint.epoch is None else f"{checkpoint.epoch:,}",
        ", ".join(role for role, holds in roles.items() if holds),
        "  ".join(metrics[:MOST_METRICS]),
        "" if checkpoint.bytes is None else format_bytes(checkpoint.bytes),
        "" if checkpoint.created is None else format_age(now - checkpoint.created),
        checkpoint.problem or "valid",
    ]
