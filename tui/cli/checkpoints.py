"""`torchconsole checkpoints`: list a run's checkpoints, and whether they are intact."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from torchconsole.engine.text import printable
from torchconsole.tui.cli.named_runs import find_run
from torchconsole.tui.cli.options import AsJson, RunName, RunsDir
from torchconsole.tui.cli.terminal import print_json, print_table
from torchconsole.tui.table import Column

if TYPE_CHECKING:
    from torchconsole.engine.run.checkpoints import CheckpointInfo

COLUMNS = (
    Column("CHECKPOINT"),
    Column("STEP", right=True, rank=6),
    Column("EPOCH", right=True, rank=4),
    Column("ROLE", rank=2),
    Column("METRICS", rank=3, least=16),
    Column("SIZE", right=True, rank=5),
    Column("AGE", right=True, rank=1),
    Column("STATE", least=12),
)
MOST_METRICS = 3


def checkpoints(run: RunName, as_json: AsJson = False, runs_dir: RunsDir = None) -> int:
    """List a run's checkpoints, the newest first.

    Compares each one with its SHA-256. STATE is `valid`, or what is wrong with the checkpoint. Those that
    `send RUN rollback` left behind come last; their ROLE is `abandoned`.
    """
    from torchconsole.engine.run.checkpoints import describe_checkpoints
    from torchconsole.engine.run.imported import imported_from

    folder = find_run(run, runs_dir)
    found = describe_checkpoints(folder)
    if as_json:
        print_json([{**asdict(checkpoint), "valid": not checkpoint.problem} for checkpoint in found])
    elif found:
        now = time.time()
        print_table(COLUMNS, [_cells(checkpoint, now) for checkpoint in found])
        for checkpoint in found:
            if checkpoint.made_by:
                resume = f"; to resume from it: {checkpoint.resume}" if checkpoint.resume else ""
                print(printable(f"{checkpoint.name} is a checkpoint of {checkpoint.made_by}{resume}"))
    else:
        why = f", because it was imported from {source}" if (source := imported_from(folder)) else " yet"
        print(printable(f"{folder.name} has no checkpoint{why}"))
    return 0


def _cells(checkpoint: CheckpointInfo, now: float) -> list[str]:
    from torchconsole.tui.formatting import format_bytes, format_named_metric
    from torchconsole.tui.run_listing import format_age

    roles = {
        "best": checkpoint.best,
        "last": checkpoint.last,
        "saved by user": checkpoint.kept,
        "abandoned": checkpoint.abandoned,
    }
    metrics = [
        f"{name} {format_named_metric(name, value)}"
        for name, value in checkpoint.metrics.items()
        if name.count("/") < 2
    ]
    return [
        checkpoint.name,
        f"{checkpoint.step:,}",
        "" if checkpoint.epoch is None else f"{checkpoint.epoch:,}",
        ", ".join(role for role, applies in roles.items() if applies),
        "  ".join(metrics[:MOST_METRICS]),
        "" if checkpoint.bytes is None else format_bytes(checkpoint.bytes),
        "" if checkpoint.created is None else format_age(now - checkpoint.created),
        checkpoint.problem or "valid",
    ]
