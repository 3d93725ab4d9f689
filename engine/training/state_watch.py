"""Finds what user code changes from pass to pass outside of weights and buffers: a heuristic of the dry run.

What changes from one training pass to the next, on the same batch, is state, such as a counter. What changes
in the first pass only is a cache, and so is a large tensor that a pass makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from torchconsole.engine.components.object_walk import Member
from torchconsole.engine.components.opaque_state import changes, shown_state
from torchconsole.engine.components.own_state import holders, pieces, state_of
from torchconsole.engine.components.plain_state import NotPlainError, copied, is_same
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.training.learning_rate import LearningRate

METRICS = "metrics"
"""First part of the paths of metrics, which each evaluation resets."""

MOST_NEW = 2**20
"""Elements of a tensor from which on it is a cache or an activation if a forward pass has made it."""

ABSENT = object()

SCHEDULE_STEPS = 2
"""Steps and epochs of a schedule to look at."""


@dataclass
class _Look:
    """What a look at the state has found, by path."""

    values: dict[str, Any] = field(default_factory=dict)
    """Copies of plain values."""
    generators: set[str] = field(default_factory=set)
    opaque: dict[str, tuple[object, str]] = field(default_factory=dict)
    """Objects that cannot be saved, each with a text that shows its state."""


class StateWatch:
    """Looks at the state below `roots` several times, and judges what has changed in between."""

    def __init__(self, roots: Mapping[str, object]) -> None:
        self._roots = roots
        self._looks: list[_Look] = []
        self._unsavable: dict[str, None] = {}

    def look(self) -> None:
        """Look now: before anything, after a pass, after more passes on the same batch, and at the end."""
        look = _Look()
        for piece in pieces(self._roots, lambda member: not member.path.startswith(METRICS)):
            try:
                state = state_of(piece)
            except (NotPlainError, NotImplementedError, TypeError) as error:
                if piece.kind != "value":
                    self._unsavable[_described(piece.member, str(error))] = None
                continue
            except Exception as error:  # noqa: BLE001 - user code may raise anything
                self._unsavable[_described(piece.member, f"{type(error).__name__}: {error}")] = None
                continue
            if piece.kind == "value":
                look.values[piece.member.path] = copied(state)
            elif piece.kind == "generator":
                look.generators.add(piece.member.path)
        for holder in holders(self._roots):
            if not holder.path.startswith(METRICS) and (shown := shown_state(holder)) is not None:
                look.opaque[holder.path] = holder.value, shown
        self._looks.append(look)

    def changing(self) -> set[str]:
        """Return the paths of the plain values that are state."""
        paths = set().union(*(look.values for look in self._looks))
        return {path for path in paths if _is_state([look.values.get(path, ABSENT) for look in self._looks])}

    @property
    def makes_generators(self) -> bool:
        """Whether generators of random numbers have been made since the first look."""
        return any(look.generators - self._looks[0].generators for look in self._looks)

    def unsaved(self) -> list[str]:
        """Describe what changes, or draws random numbers, and cannot be saved."""
        found = dict(self._unsavable)
        for before, after in zip(self._looks, self._looks[1:], strict=False):
            found |= dict.fromkeys(changes(before.opaque, after.opaque))
        return list(found)


def _is_state(seen: list[Any]) -> bool:
    """Whether a value is state: `seen` at the start, after one pass, after more of them, and at the end."""
    start, once, more, end = seen[0], seen[1], seen[-2], seen[-1]
    if _differs(once, more):
        return not _is_made(start, more)
    # Only another batch or an evaluation changes it.
    if start is ABSENT and not isinstance(end, Tensor):
        return False  # a cache, such as the size of the last batch
    return not _differs(start, more) and _differs(more, end) and not _is_made(start, end)


def _is_made(start: Any, now: Any) -> bool:
    """Whether a value is a large tensor that was not there at the start."""
    return isinstance(now, Tensor) and not isinstance(start, Tensor) and now.numel() > MOST_NEW


def _differs(one: Any, other: Any) -> bool:
    """Whether two plain values differ. A tensor of another shape is a cache, and so equal."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and not is_same(one, other)
    if one is ABSENT or other is ABSENT or isinstance(one, Tensor) or isinstance(other, Tensor):
        return False
    return not is_same(one, other)


def _described(member: Member, reason: str) -> str:
    return f"{member.path} ({type(member.value).__name__}{f': {reason}' if reason else ''})"


def watch_schedule(learning_rate: LearningRate) -> list[str]:
    """Describe what the first part of the schedule changes and cannot save, by a few steps of a copy."""
    schedule = learning_rate.copy_schedule()
    watch = StateWatch({member.section: member.scheduler for member in schedule.members})
    with suppress(ComponentError):  # a schedule may be shorter than that
        for _ in range(SCHEDULE_STEPS):
            watch.look()
            schedule.step()
            schedule.epoch()
        watch.look()
    return watch.unsaved()
