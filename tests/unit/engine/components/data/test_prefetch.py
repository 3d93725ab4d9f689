"""Prefetching makes one batch ahead, keeps the order, and raises an error in place of its batch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from torchconsole.engine.components.data.loader import one_ahead, prefetch
from torchconsole.engine.errors import DataError
from torchconsole.engine.training.command_queue import Terminated


class Source:
    """Gives the numbers below `end`, then raises `error` if there is one."""

    def __init__(self, end: int, error: BaseException | None = None) -> None:
        self.made = 0
        self._end = end
        self._error = error

    def __iter__(self) -> Iterator[int]:
        for number in range(self._end):
            self.made += 1
            yield number
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_items_come_in_order_and_one_is_made_ahead(count: int) -> None:
    source = Source(count)
    seen = [(item, source.made) for item in one_ahead(source)]
    assert seen == [(number, min(number + 2, count)) for number in range(count)]


def test_no_more_than_one_item_is_made_ahead() -> None:
    source = Source(9)
    ahead = one_ahead(source)
    assert next(ahead) == 0
    ahead.close()
    assert source.made == 2


def test_an_error_is_raised_after_the_items_before_it() -> None:
    seen: list[int] = []
    with pytest.raises(DataError, match="unreadable"):
        seen.extend(one_ahead(Source(3, DataError("unreadable"))))
    assert seen == [0, 1, 2]


def test_a_termination_signal_is_raised_at_once() -> None:
    seen: list[int] = []
    with pytest.raises(Terminated):
        seen.extend(one_ahead(Source(3, Terminated("SIGTERM"))))
    assert seen == [0, 1]


def test_a_data_error_is_raised_in_place_of_its_batch() -> None:
    good = torch.ones(2), torch.zeros(2)
    batches = prefetch([good, DataError("unreadable")], torch.device("cpu"), lambda inputs: inputs + 1)
    inputs, targets = next(batches)
    assert (inputs.tolist(), targets.tolist()) == ([2, 2], [0, 0])
    with pytest.raises(DataError, match="unreadable"):
        next(batches)
