"""The statuses of a run. Free of pydantic, so that listing runs need not import it."""

from __future__ import annotations

from typing import Literal, get_args

RunStatus = Literal[
    "starting", "running", "pausing", "paused", "stopping", "finished", "stopped", "failed", "lost",
    "interrupted",
]  # fmt: skip

STATUSES: frozenset[RunStatus] = frozenset(get_args(RunStatus))

LIVE_STATUSES: frozenset[RunStatus] = frozenset({"starting", "running", "pausing", "paused", "stopping"})
"""A worker is at the run, or should be."""

DEAD_STATUSES: frozenset[RunStatus] = frozenset({"lost", "interrupted"})
"""What a live status turns into when the worker is gone."""
