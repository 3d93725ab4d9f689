"""Which of several processes is the straggler, and why."""

from __future__ import annotations

import pytest

from torchconsole.engine.protocol.rank_loads import RankLoad, find_straggler


def load(
    rank: int, step: float | None, data: float | None = 0.0, communication: float | None = 0.0
) -> RankLoad:
    return RankLoad(
        rank=rank,
        host="gpu-07",
        device="cpu",
        step_seconds=step,
        data_seconds=data,
        communication_seconds=communication,
    )


def test_the_straggler_is_the_process_with_the_longest_part_of_its_own() -> None:
    found = find_straggler([load(0, 1.0, 0.1, 0.4), load(1, 1.0, 0.1, 0.0), load(2, 1.0, 0.1, 0.5)])
    assert found is not None
    assert (found.load.rank, found.cause) == (1, "compute")
    assert found.behind == pytest.approx(0.45)


def test_a_straggler_that_waits_for_data_is_told_from_one_that_computes_slowly() -> None:
    found = find_straggler([load(0, 1.0, 0.0, 0.5), load(1, 1.0, 0.4, 0.0)])
    assert found is not None
    assert (found.load.rank, found.cause) == (1, "data")


def test_there_is_none_up_to_a_tenth_above_the_median() -> None:
    assert find_straggler([load(0, 1.0), load(1, 1.1), load(2, 1.0)]) is None
    assert find_straggler([load(0, 1.0), load(1, 1.12), load(2, 1.0)]) is not None


def test_there_is_none_where_that_is_not_measured() -> None:
    assert find_straggler([]) is None
    assert find_straggler([load(0, 1.0)]) is None
    assert find_straggler([load(0, 1.0, communication=None), load(1, 9.0, communication=None)]) is None
    assert find_straggler([load(0, 1.0), load(1, None), load(2, None)]) is None


def test_shares_are_of_a_step() -> None:
    measured = load(0, 2.0, 0.5, None)
    assert measured.share(measured.data_seconds) == 0.25
    assert measured.share(measured.communication_seconds) is None
    assert load(0, None).share(1.0) is None
