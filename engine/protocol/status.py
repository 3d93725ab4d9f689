"""The statuses of a run. Free of pydantic, so that listing runs does not import it."""

from __future__ import annotations

from typing import Literal

RunStatus = Literal[
    "starting", "running", "pausing", "paused", "stopping", "finished", "stopped", "failed", "lost",
    "interrupted",
]  # fmt: skip

ListedStatus = Literal[RunStatus, "unreadable", "unreachable", "deleting"]
"""Listings also have runs whose files cannot be read, whose disk is away, or that are partly deleted."""

LIVE_STATUSES: frozenset[RunStatus] = frozenset({"starting", "running", "pausing", "paused", "stopping"})
"""Statuses of a run that has a worker, or should have one."""

DEAD_STATUSES: frozenset[RunStatus] = frozenset({"lost", "interrupted"})
"""Statuses of a run whose worker ended without recording another one."""
