"""Processes of one start meet in a store that others have used before them."""

from __future__ import annotations

import threading

from torch.distributed import Store, TCPStore

from torchconsole.engine.distributed.meeting import meet


def start(store: Store, size: int) -> list[Store]:
    """Start the processes of a job, the leader last; return the store of each."""
    found: dict[int, Store] = {}
    complete = threading.Event()

    def join(rank: int) -> None:
        found[rank], _ = meet(store.clone(), leads=rank == 0, complete=complete)  # type: ignore[attr-defined]

    threads = [threading.Thread(target=join, args=(rank,)) for rank in reversed(range(size))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    complete.set()
    return [found[rank] for rank in range(size)]


def test_a_second_start_finds_nothing_of_the_first() -> None:
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    for attempt in ("first", "second"):
        leader, *others = start(store, 3)
        assert not any(each.check(["plan"]) for each in (leader, *others))
        leader.set("plan", attempt)
        assert [each.get("plan").decode() for each in others] == [attempt, attempt]


def test_one_who_asked_and_died_does_not_keep_the_next_start_from_meeting() -> None:
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    store.set(f"question/{store.add('questions', 1)}", "")
    leader, other = start(store, 2)
    leader.set("plan", "found")
    assert other.get("plan") == b"found"  # waits for it: the leader's client has not waited for its answer
