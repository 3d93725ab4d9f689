"""The process that holds up the others is named from what all have said of themselves."""

from __future__ import annotations

import threading
import time

import pytest

from torchconsole.engine.distributed.diagnosis import Absence, Beat, Doing, find_place, why_stuck

PLACE = "all_reduce in distributed_c10d.py"


def beat(
    step: int = 7,
    *,
    place: str = PLACE,
    waits: bool = True,
    is_over: bool = False,
    doing: Doing = "training",
    still: float = 30.0,
) -> Beat:
    return Beat(
        number=3,
        host="gpu7",
        pid=42,
        step=step,
        batches=step,
        still=still,
        doing=doing,
        place=place,
        waits=waits,
        is_over=is_over,
    )


@pytest.mark.parametrize(
    ("beats", "unheard", "reason"),
    [
        (
            {0: beat(), 1: beat(6)},
            {1: 30.0},
            "process 1 (pid 42 on gpu7) has not been heard of for 30 s, last after step 6: it is suspended "
            "or hangs, or its machine is off or cut off",
        ),
        (
            {0: beat(), 1: beat(place="data.py, line 3", waits=False), 2: beat()},
            {1: 1.0, 2: 1.0},
            "process 1 (pid 42 on gpu7) has not gone on for 30 s after step 7, in data.py, line 3, and the "
            "others wait for it",
        ),
        (
            {0: beat(6), 1: beat(7)},
            {1: 1.0},
            f"process 0 (pid 42 on gpu7) has not gone on for 30 s after step 6, in {PLACE}, and the others "
            "wait for it",
        ),
        (
            {0: beat(), 1: beat()},
            {1: 1.0},
            f"all processes have not gone on for 30 s at step 7: process 0 (pid 42 on gpu7) in {PLACE}; "
            f"process 1 (pid 42 on gpu7) in {PLACE}",
        ),
        (
            {0: beat(0, doing="preparing")},
            {1: 60.0},
            "process 1 has not been heard of for 60 s: it was not started, hangs at its start, or cannot "
            "reach the first process",
        ),
        (
            {
                0: beat(0, doing="preparing"),
                1: beat(0, doing="preparing", place="data.py, line 3", waits=False),
                2: beat(0, doing="preparing", place="data.py, line 9", waits=False, still=0.0),
            },
            {1: 1.0, 2: 1.0},
            "process 1 (pid 42 on gpu7) has not gone on for 30 s before the training began, in data.py, line "
            "3, and the others wait for it",
        ),
        (
            {0: beat(doing="disk", waits=False, still=300.0), 1: beat()},
            {1: 1.0},
            "process 0 (pid 42 on gpu7) has not gone on for 300 s after step 7: it waits for the disk with "
            "the checkpoints, and the others wait for it",
        ),
        ({1: beat(is_over=True)}, {1: 60.0}, "the other processes have not been heard of for 30 s"),
    ],
    ids=["silent", "busy", "behind", "unknown", "missing", "prepares", "disk", "none"],
)
def test_who_holds_up_the_others(beats: dict[int, Beat], unheard: dict[int, float], reason: str) -> None:
    assert why_stuck(beats, unheard, 30.0) == reason


def test_the_line_of_the_users_code_is_where_a_thread_is() -> None:
    held, is_there = threading.Event(), threading.Event()

    def hang() -> None:
        is_there.set()
        held.wait()

    thread = threading.Thread(target=hang)
    thread.start()
    is_there.wait()
    assert thread.ident is not None
    place, waits = find_place(thread.ident)
    held.set()
    thread.join()
    assert place.startswith("test_diagnosis.py, line ")
    assert not waits
    assert find_place(thread.ident, "preparing") == ("", False)
    assert find_place(-1) == ("", False)


def test_a_thread_in_torchconsole_itself_waits_wherever_that_is_installed() -> None:
    _, waits = find_place(threading.get_ident())
    assert waits


def test_one_that_was_suspended_says_so_unless_the_others_are_heard_of_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    absence, own = Absence(30.0), beat(step=7)
    clock[0] += 31.0  # 29 s too late
    absence.note(2.0)
    assert absence.describe(own, 0) == ""
    clock[0] += 62.0
    absence.note(2.0)
    clock[0] += 2.0
    absence.note(2.0)
    assert " stood still for 60 s after step 7" in absence.describe(own, 0)
    absence.forget()
    assert absence.describe(own, 0) == ""
