"""Curves: the moving average, and values that are not finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchconsole.tui.charts.curves import HUGE, Curve, moving_average


def one_by_one(values: list[float], counts: list[int], decay: float) -> list[float]:
    """Return the debiased average as its definition says."""
    total = weight = 0.0
    averages = []
    for value, count in zip(values, counts, strict=True):
        for _ in range(count):
            total, weight = decay * total + (1 - decay) * value, decay * weight + (1 - decay)
        averages.append(total / weight)
    return averages


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 30)), min_size=1, max_size=80),
    st.sampled_from([0.9, 0.99]),
)
def test_the_average_is_the_debiased_one(data: list[tuple[float, int]], decay: float) -> None:
    values, counts = map(list, zip(*data, strict=True))
    fast = moving_average(np.array(values), np.array(counts), decay)
    assert fast.tolist() == pytest.approx(one_by_one(values, counts, decay), rel=1e-6, abs=1e-6)


def test_it_begins_at_the_first_value_and_forgets_it() -> None:
    values = np.array([5.0, *[1.0] * 3000])
    average = moving_average(values, np.ones(3001, dtype=np.int64), 0.99)
    assert (average[0], average[-1]) == pytest.approx((5.0, 1.0))
    assert 1.0 < average[50] < 5.0


def test_a_bucket_that_outweighs_the_past_is_its_own_average() -> None:
    counts = np.array([1, 10**6, 3, 10**9])
    average = moving_average(np.array([9.0, 2.0, 4.0, 7.0]), counts, 0.9)
    assert average.tolist() == pytest.approx([9.0, 2.0, 2.0 * 0.729 + 4.0 * 0.271, 7.0])


def test_values_that_are_not_finite_are_left_out_of_the_line() -> None:
    values = np.array([1.0, np.nan, 1.0, np.inf, 1e308])
    curve = Curve.of("", "train", np.arange(5), values)
    assert curve.finite.steps.tolist() == [0, 2, 4]
    assert curve.finite.values.tolist() == [1.0, 1.0, HUGE]
    assert curve.nonfinite.steps.tolist() == [1, 3]
    assert curve.last == 1e308
