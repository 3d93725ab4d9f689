"""Which process keeps a job from going on, from what all of them have said of themselves."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from torchconsole.engine.components.user_errors import ENGINE, place_in_stack
from torchconsole.engine.run.membership import NOT_GONE_ON, NOT_HEARD_OF

WAITS_IN = (
    "/torch/distributed/",
    "/torch/nn/parallel/",
    "/torch/autograd/",
    "/torch/_tensor.py",
    "/torchconsole/engine/",
)
"""Files whose innermost calls wait for other processes, or for a device that does."""

WAITS_BEFORE = ("/torch/distributed/", "/torchconsole/engine/distributed/")
"""The same before the training: the rest of torchconsole and of torch computes and reads then."""

LONG, LEAST_LONG = 10, 3600.0
"""How many times the timeout a preparation may take, or a wait for a checkpoint; and the seconds that it may
take in any case."""

LEAST_SILENCE = 60.0
"""Seconds for which one that prepares may say nothing in any case: an import or a library may hold Python's
lock."""

LEAST_ABSENCE = 5.0
"""Seconds after which a thread that has not run was suspended: a busy machine or Python's lock takes less."""

Doing = Literal["preparing", "training", "disk"]
"""What a process does; disk: it waits until a checkpoint is written or read."""


class Beat(BaseModel):
    """What a process says of itself every few seconds."""

    number: int
    """Grows with each beat."""
    host: str
    pid: int
    pids: str = ""
    """Tells pids of different containers apart, which may have one host name."""
    step: int
    """Steps that it has completed."""
    batches: int
    """Batches that it has taken since its start, evaluations included."""
    still: float
    """Seconds for which its training thread has not gone on, pauses left out."""
    doing: Doing = "training"
    place: str
    """Where its training thread is."""
    waits: bool
    """Whether that is a place where it waits for the others."""
    is_over: bool = False
    """Whether its training has ended as it should."""

    @property
    def may_last(self) -> bool:
        """Whether others wait for it longer than the timeout: if it hangs, it says so itself."""
        return not self.is_over and (self.doing == "disk" or (self.doing == "preparing" and not self.waits))

    def name(self, rank: int) -> str:
        """Return what people call the process."""
        return f"process {rank} (pid {self.pid} on {self.host})"


class Absence:
    """For how long this process itself stood still, while the others may have given it up."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long the others wait at least."""
        self._least = max(seconds, LEAST_ABSENCE)
        self._longest = 0.0
        self._last = time.monotonic()

    def note(self, period: float) -> None:
        """Note that a thread runs which has waited for so many seconds, or longer if it could not run."""
        now = time.monotonic()
        self._longest = max(self._longest, now - self._last - period)
        self._last = now

    def forget(self) -> None:
        """Forget it, because another process has been heard of since."""
        self._longest = 0.0

    def describe(self, own: Beat, rank: int) -> str:
        """Return a reason why the others are gone; empty if it is none."""
        if self._longest < self._least:
            return ""
        return (
            f"{own.name(rank)} stood still for {self._longest:.0f} s after step {own.step:,}, as one that is "
            "suspended does, and the others have ended meanwhile"
        )


def find_place(thread: int, doing: Doing = "training") -> tuple[str, bool]:
    """Return where a thread is, as `data.py, line 14`, and whether it waits there for other processes."""
    waiting = WAITS_BEFORE if doing == "preparing" else WAITS_IN
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "", False
    stack = traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)
    stack.reverse()
    innermost = stack[-1]
    file = innermost.filename
    if Path(file).is_relative_to(ENGINE):  # wherever it is installed
        file = f"/torchconsole/engine/{Path(file).relative_to(ENGINE)}"
    if place := place_in_stack(stack):
        # The user's model may be what called a layer that waits, such as synchronized batch normalization.
        return place, any(part in file for part in waiting)
    waits = any(part in file for part in waiting)
    return f"{innermost.name} in {Path(innermost.filename).name}", waits


def longest(seconds: float) -> float:
    """Return for how many seconds one may not go on that prepares or waits for a disk."""
    return max(LONG * seconds, LEAST_LONG)


def longest_silence(beat: Beat | None, seconds: float) -> float:
    """Return for how many seconds a process may say nothing; one without a beat has not come yet."""
    return seconds if beat is not None and beat.doing != "preparing" else max(seconds, LEAST_SILENCE)


def why_stuck(beats: Mapping[int, Beat], unheard: Mapping[int, float], seconds: float) -> str:
    """Say which of the processes holds up the others, which have waited for `seconds` or longer.

    `unheard`: for how many seconds each has not been heard of; one without a beat has never been.
    """
    alive = {rank: beat for rank, beat in beats.items() if not beat.is_over}
    if silent := [
        rank
        for rank, late in unheard.items()
        if late >= longest_silence(beats.get(rank), seconds) / 2 and (rank in alive or rank not in beats)
    ]:
        return "; ".join(_silent(alive.get(rank), rank, unheard[rank]) for rank in silent)
    if not alive:
        return f"the other processes have {NOT_HEARD_OF} {seconds:.0f} s"
    behind = _slowest(alive)
    if len(behind) < len(alive):
        return _held_up(alive, behind)
    busy = [rank for rank, beat in alive.items() if not beat.waits]
    if late := [rank for rank in busy if alive[rank].still >= seconds / 2]:
        busy = late  # the rest is at work
    if busy and len(busy) < len(alive):
        return _held_up(alive, busy)
    places = "; ".join(f"{beat.name(rank)} in {beat.place}" for rank, beat in alive.items())
    first = next(iter(alive.values()))
    when = "before the training began" if first.doing == "preparing" else f"at step {first.step:,}"
    longest = max(seconds, *(beat.still for beat in alive.values()))
    return f"all processes have {NOT_GONE_ON} {longest:.0f} s {when}: {places}"


def _slowest(alive: Mapping[int, Beat]) -> list[int]:
    """Return those that have done the fewest steps."""
    least = min(beat.step for beat in alive.values())
    return [rank for rank, beat in alive.items() if beat.step == least]


def _held_up(alive: Mapping[int, Beat], ranks: Sequence[int]) -> str:
    return "; ".join(
        f"{alive[rank].name(rank)} has {NOT_GONE_ON} {alive[rank].still:.0f} s {_where(alive[rank])}, and "
        "the others wait for it"
        for rank in ranks
    )


def _where(beat: Beat) -> str:
    if beat.doing == "preparing":
        return f"before the training began, in {beat.place}"
    if beat.doing == "disk":
        return f"after step {beat.step:,}: it waits for the disk with the checkpoints"
    return f"after step {beat.step:,}, in {beat.place}"


def _silent(beat: Beat | None, rank: int, unheard: float) -> str:
    if beat is None:
        return (
            f"process {rank} has {NOT_HEARD_OF} {unheard:.0f} s: it was not started, hangs at its start, or "
            "cannot reach the first process"
        )
    return (
        f"{beat.name(rank)} has {NOT_HEARD_OF} {unheard:.0f} s, last {_when(beat)}: it is "
        "suspended or hangs, or its machine is off or cut off"
    )


def _when(beat: Beat) -> str:
    return "before the training began" if beat.doing == "preparing" else f"after step {beat.step:,}"
