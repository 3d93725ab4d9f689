"""Waits in the store where the processes of a job meet."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta

from torch._C._distributed_c10d import Store

SHORTEST_WAIT, LONGEST_WAIT = 0.0005, 0.05
"""Seconds between two looks at a key that is awaited."""

FOREVER = timedelta(days=365)


def wait_for(
    store: Store, key: str, seconds: float = math.inf, look: Callable[[], object] = lambda: None
) -> bytes:
    """Return the value of `key` once it is set; signal handlers run meanwhile, and `look` again and again.

    Raises DistNetworkError if the store is gone, and TimeoutError after so many seconds.
    """
    pause, deadline = SHORTEST_WAIT, time.monotonic() + seconds
    while not store.check([key]):
        if time.monotonic() > deadline:
            raise TimeoutError(key)
        look()
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_WAIT)
    return store.get(key)


def copy_of(store: Store) -> Store:
    """Return another client of a store: a wait in one thread blocks all others that use the same client."""
    copy: Store = store.clone()  # type: ignore[attr-defined]
    return copy
