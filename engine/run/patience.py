"""Waits only so long for a disk or network mount: on one that hangs, no call returns."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from torchconsole.engine.errors import UnreachableError

T = TypeVar("T")

SECONDS = 5.0
"""How long one step may take: on a slow network disk a run is read in a tenth of that."""

_waiting: dict[str, threading.Thread] = {}
"""Places that did not answer in time, with the thread that still waits there."""


def patiently(place: str, steps: Callable[[], Iterable[T]]) -> Iterator[T]:
    """Yield what `steps()` yields, which may access the disk at `place`. It runs in another thread.

    Raises what it raises, and UnreachableError once a step takes more than SECONDS. The thread is left alone
    then; as long as it waits, no other one is sent to the same place.
    """
    if place in _waiting and _waiting[place].is_alive():
        raise _does_not_answer(place)
    done: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            for step in steps():
                done.put((False, step))
            done.put((True, None))
        except BaseException as error:  # noqa: BLE001
            done.put((True, error))

    thread = threading.Thread(target=run, name=f"torchconsole-{place}", daemon=True)
    thread.start()
    while True:
        try:
            is_end, found = done.get(timeout=SECONDS)
        except queue.Empty:
            _waiting[place] = thread
            raise _does_not_answer(place) from None
        if isinstance(found, BaseException):
            raise found
        if is_end:
            return
        yield found


def within_patience(place: str, work: Callable[[], T]) -> T:
    """Return `work()`, done as `patiently` does it."""
    return next(patiently(place, lambda: [work()]))


def _does_not_answer(place: str) -> UnreachableError:
    return UnreachableError(f"{place}: the disk does not answer")
