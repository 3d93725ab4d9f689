"""What each process of a training by several does, and which of them the others wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from torchconsole.engine.protocol.info import Count, Facts, Seconds, Timestamp

SLOWER = 1.1
"""A process is the straggler if its own part of a step takes more than this times that of the others."""


class RankLoad(Facts):
    """The present load of one process; None if unknown or not measured (yet).

    `percent` is the utilisation of its GPU, or of one CPU core if it trains on the CPU. `memory_used` are the
    bytes that it holds of `memory_total`: of its GPU's memory, or of its machine's. `data_seconds` and
    `communication_seconds` are the parts of a step of `step_seconds` that it waits for data, and that it
    waits for other processes and for the transfer of gradients. `samples` are those that it trains on in a
    step; None if the run's batch tells them. `heard` is when the leader has last received this, by the
    leader's clock.
    """

    rank: Count
    host: str
    device: str
    device_name: str = ""
    percent: float | None = None
    memory_used: Count | None = None
    memory_total: Count | None = None
    step_seconds: Seconds | None = None
    data_seconds: Seconds | None = None
    communication_seconds: Seconds | None = None
    samples: float | None = None
    heard: Timestamp = 0.0

    @property
    def own_seconds(self) -> float | None:
        """The part of a step that does not depend on other processes: waiting for data, and computing."""
        if self.step_seconds is None or self.communication_seconds is None:
            return None
        return self.step_seconds - self.communication_seconds

    def share(self, seconds: float | None) -> float | None:
        """Return a part of a step as a share of it, from 0 to 1."""
        return seconds / self.step_seconds if self.step_seconds and seconds is not None else None


@dataclass(frozen=True)
class Straggler:
    """The process that the others wait for: `behind` seconds of each step, because of `cause`."""

    load: RankLoad
    behind: float
    cause: Literal["data", "compute"]


def find_straggler(loads: Sequence[RankLoad]) -> Straggler | None:
    """Return the process whose own part of a step is clearly longer than those of the others.

    They are compared with the median of the others. None if none is, or if that is not measured.
    """
    measured = [(own, load) for load in loads if (own := load.own_seconds) is not None]
    if len(measured) < 2:
        return None
    longest, slowest = max(measured, key=lambda found: found[0])
    others = [(own, load) for own, load in measured if load is not slowest]
    usual = median(own for own, _ in others)
    if longest <= SLOWER * usual:
        return None
    waited = (slowest.data_seconds or 0.0) - median(load.data_seconds or 0.0 for _, load in others)
    behind = longest - usual
    return Straggler(slowest, behind, "data" if waited > behind / 2 else "compute")
