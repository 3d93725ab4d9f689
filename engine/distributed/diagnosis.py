"""Which process keeps a job from going on, from what all of them have said of themselves."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from torchconsole.engine.components.user_errors import place_in_stack
from torchconsole.engine.run.membership import NOT_GONE_ON, NOT_HEARD_OF

WAITS_IN = (
    "/torch/distributed/",
    "/torch/nn/parallel/",
    "/torch/autograd/",
    "/torch/_tensor.py",
    "/torchconsole/engine/",
)
"""Files whose innermost calls wait for other processes, or for a device that does."""


class Beat(BaseModel):
    """What a process says of itself every few seconds."""

    number: int
    """Grows with each beat."""
    host: str
    pid: int
    step: int
    """Steps that it has completed."""
    batches: int
    """Batches that it has taken since its start, evaluations included."""
    still: float
    """Seconds for which its training thread has not gone on, pauses left out."""
    place: str
    """Where its training thread is."""
    waits: bool
    """Whether that is a place where it waits for the others."""
    is_over: bool = False
    """Whether its training has ended as it should."""

    def name(self, rank: int) -> str:
        """Return what people call the process."""
        return f"process {rank} (pid {self.pid} on {self.host})"


def find_place(thread: int) -> tuple[str, bool]:
    """Return where a thread is, as `data.py, line 14`, and whether it waits there for other processes."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "", False
    stack = traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)
    stack.reverse()
    innermost = stack[-1]
    if place := place_in_stack(stack):
        # The user's model may be what called a layer that waits, such as synchronized batch normalization.
        return place, any(part in innermost.filename for part in WAITS_IN)
    waits = any(part in innermost.filename for part in WAITS_IN)
    return f"{innermost.name} in {Path(innermost.filename).name}", waits


def why_stuck(beats: Mapping[int, Beat], unheard: Mapping[int, float], seconds: float) -> str:
    """Say which of the processes holds up the others, which have waited for `seconds`.

    `unheard`: for how many seconds each has not been heard of.
    """
    alive = {rank: beat for rank, beat in beats.items() if not beat.is_over}
    if silent := [rank for rank in alive if unheard.get(rank, 0.0) >= seconds / 2]:
        return "; ".join(_silent(alive[rank], rank, unheard[rank]) for rank in silent)
    if not alive:
        return f"the other processes have {NOT_HEARD_OF} {seconds:.0f} s"
    behind = _slowest(alive)
    if len(behind) < len(alive):
        return _held_up(alive, behind)
    busy = [rank for rank, beat in alive.items() if not beat.waits]
    if busy and len(busy) < len(alive):
        return _held_up(alive, busy)
    places = "; ".join(f"{beat.name(rank)} in {beat.place}" for rank, beat in alive.items())
    step = next(iter(alive.values())).step
    return f"all processes have {NOT_GONE_ON} {seconds:.0f} s at step {step}: {places}"


def _slowest(alive: Mapping[int, Beat]) -> list[int]:
    """Return those that have done the fewest steps."""
    least = min(beat.step for beat in alive.values())
    return [rank for rank, beat in alive.items() if beat.step == least]


def _held_up(alive: Mapping[int, Beat], ranks: Sequence[int]) -> str:
    return "; ".join(
        f"{alive[rank].name(rank)} has {NOT_GONE_ON} {alive[rank].still:.0f} s after step "
        f"{alive[rank].step}, in {alive[rank].place}, and the others wait for it"
        for rank in ranks
    )


def _silent(beat: Beat, rank: int, unheard: float) -> str:
    return (
        f"{beat.name(rank)} has {NOT_HEARD_OF} {unheard:.0f} s, last after step {beat.step}: it is "
        "suspended or hangs, or its machine is off or cut off"
    )
