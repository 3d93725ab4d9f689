"""The processes of one start find each other, in a store that may outlive them.

The store of torchrun's agent lives as long as the agent: after a restart, or when machines have come or gone,
it still has what earlier processes wrote. So the leader draws a name for each start, which begins all keys of
it, and tells the others the name when they ask.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable

from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed import DistError

from torchconsole.engine.config.schema import DistributedConfig
from torchconsole.engine.distributed.store import copy_of, wait_for

QUESTIONS, QUESTION, ANSWER = "questions", "question", "answer"

LEADER_SECONDS = 60 * DistributedConfig().timeout
"""How long to wait for the leader, which has the preset: the timeout in it is not known yet."""

LOOK_SECONDS = 0.05
"""Seconds between two looks of the leader for questions."""


def meet(
    store: Store, *, leads: bool, complete: threading.Event, count_late: Callable[[], int] = lambda: 0
) -> tuple[Store, threading.Thread | None]:
    """Return the part of the store that only the processes of this start use. The others wait for the leader.

    The leader answers in a thread until `complete` is set, which is returned too. At its end it leaves an
    answer for each of those who have not asked yet. Raises DistError if the store is gone, and TimeoutError
    if the leader has not come within `LEADER_SECONDS`.
    """
    answering: threading.Thread | None = None
    if leads:
        name = uuid.uuid4().hex
        answering = threading.Thread(
            target=_answer,
            args=(copy_of(store), name, complete, count_late),
            name="torchconsole-meeting",
            daemon=True,
        )
        answering.start()
    else:
        number = store.add(QUESTIONS, 1)
        store.set(f"{QUESTION}/{number}", "")
        name = wait_for(store, f"{ANSWER}/{number}", LEADER_SECONDS).decode()
    return PrefixStore(name, store), answering


def _answer(store: Store, name: str, complete: threading.Event, count_late: Callable[[], int]) -> None:
    """Answer all questions. Those who asked an earlier leader are gone, and nobody asks twice."""
    number = 1
    with contextlib.suppress(DistError):  # the training thread will find out too
        while not complete.wait(LOOK_SECONDS):
            while store.check([f"{QUESTION}/{number}"]):
                store.set(f"{ANSWER}/{number}", name)
                number += 1
        for late in range(number, number + count_late()):
            store.set(f"{ANSWER}/{late}", name)
