"""Which runs a list shows, and in which order: for the console's list and for `torchconsole runs`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchconsole.engine.run.folder import RunRecord


def matching(runs: Iterable[RunRecord], words: Sequence[str]) -> list[RunRecord]:
    """The runs in whose name, preset, title, status or host each of the words occurs, in any case."""
    wanted = [word.casefold() for word in words]
    return [run for run in runs if all(word in _text(run) for word in wanted)]


def ordered(runs: Iterable[RunRecord], by: str) -> list[RunRecord]:
    """The runs in one of ORDERS; equals stay as they are. Those that lack what it goes by come last."""
    return sorted(runs, key=ORDERS[by])


def _text(run: RunRecord) -> str:
    return "\n".join((run.name, run.preset, run.title, run.status, run.host)).casefold()


def _best(run: RunRecord) -> tuple[Any, ...]:
    """Values of one metric beside each other, the better first."""
    if not run.best:
        return (True,)
    followed = run.details.get("early_stopping") or {}
    sign = -1 if followed.get("mode") == "max" else 1
    return False, run.best["metric"], sign * run.best["value"]


ORDERS: dict[str, Callable[[RunRecord], Any]] = {
    "age": lambda run: (not run.is_live, -run.created, run.name),
    "name": lambda run: run.name,
    "status": lambda run: run.status,
    "preset": lambda run: run.preset,
    "progress": lambda run: (run.progress is None, -(run.progress or 0.0)),
    "best": _best,
    "host": lambda run: run.host,
}
"""`age`, the usual one: live runs first, then the newest."""
