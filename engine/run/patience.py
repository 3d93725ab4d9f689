"""Waits only so long for a disk or network mount: on one that hangs, no call returns."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from torchconsole.engine.errors import UnreachableError

T = TypeVar("T")

SECONDS = 10.0
"""How long it may take until work advances: on a slow network disk a run is read in a tenth of that."""

_waiting: dict[str, threading.Thread] = {}
"""Places that did not answer in time, with the thread that still waits there."""


def patiently(place: str, work: Callable[[Callable[[T], object]], object]) -> Iterator[T]:
    """Yield what `work`, which may access the disk at `place`, passes to its argument.

    It runs in another thread. Raises what it raises, and UnreachableError once it passes nothing for SECONDS.
    The thread is left alone then; as long as it waits, no other one is sent to the same place.
    """
    if place in _waiting and _waiting[place].is_alive():
        raise _does_not_answer(place)
    done: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            work(lambda found: done.put((False, found)))
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
        if not is_end:
            yield found
        elif found is None:
            return
        else:
            raise found


def within_patience(place: str, work: Callable[[Callable[[], object]], T]) -> T:
    """Return what `work` returns, as `patiently` does it; `work` calls its argument whenever it advances."""
    results: list[T] = []

    def run(advance: Callable[[None], object]) -> None:
        results.append(work(lambda: advance(None)))

    for _ in patiently(place, run):
        pass
    return results[0]


def _does_not_answer(place: str) -> UnreachableError:
    return UnreachableError(f"{place}: the disk does not answer")
