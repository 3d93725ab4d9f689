"""Points and series keep extremes and non-finite values within a bounded amount of memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchconsole.engine.protocol.points import CAPACITY, Points, Series, decimate

VALUES = st.lists(st.floats(width=32), min_size=1, max_size=300)


def test_nonfinite_numbers_become_null_with_a_flag() -> None:
    points = Points.of([1, 2, 3, 4], [0.5, math.nan, math.inf, -math.inf])
    again = Points.model_validate_json(points.model_dump_json())
    assert again.values == [0.5, None, None, None]
    assert again.nonfinite == {1: "nan", 2: "inf", 3: "-inf"}
    assert str(again.arrays()[1].tolist()) == "[0.5, nan, inf, -inf]"


@given(values=VALUES, buckets=st.integers(1, 50))
def test_decimation_keeps_extremes_order_and_the_last_point(values: list[float], buckets: int) -> None:
    steps = np.arange(10, 10 + len(values))
    kept_steps, kept = decimate(steps, np.array(values), buckets)
    finite = [value for value in values if math.isfinite(value)]
    assert len(kept) <= max(3 * buckets + 1, 2 * buckets)
    assert kept_steps[-1] == steps[-1]
    assert (np.diff(kept_steps) > 0).all()
    assert any(np.isnan(kept)) == any(map(math.isnan, values)) or not np.isfinite(kept).all()
    if finite:
        finite_kept = kept[np.isfinite(kept)]
        assert finite_kept.max() == max(finite)
        assert finite_kept.min() == min(finite)


def test_a_series_of_ten_million_steps_is_small_and_keeps_its_peaks() -> None:
    series = Series()
    noise = np.random.default_rng(0).random(100_000)
    for start in range(0, 10_000_000, len(noise)):
        values = noise.copy()
        if start == 4_200_000:
            values[5000] = 7.0
            values[6000] = math.nan
        series.append(np.arange(start, start + len(noise)), values)
    assert len(series) <= 2 * CAPACITY
    assert 30 * series.nbytes < 10_000_000, "a run has some ten series"
    assert np.nanmax(series.values) == 7.0
    assert series.steps[int(np.nanargmax(series.values))] == 4_205_000
    assert series.steps[np.isnan(series.values)].tolist() == [4_206_000]
    assert series.steps[-1] == 9_999_999
    assert np.diff(series.steps, prepend=0).max() < 10_000_000 / 500, "no part of the run is missing"


def test_many_points_at_once_take_no_more_memory() -> None:
    series = Series()
    series.append(np.arange(200_000), np.zeros(200_000))
    assert series.nbytes <= 2 * CAPACITY * 16
    assert series.steps[-1] == 199_999


def test_a_point_at_an_existing_step_replaces_it() -> None:
    series = Series()
    series.extend(Points.of([6, 12], [0.5, 0.4]))
    series.extend(Points.of([12], [0.4]))
    series.extend(Points.of([18], [0.3]))
    assert series.steps.tolist() == [6, 12, 18]
    assert series.values.tolist() == [0.5, 0.4, 0.3]


@pytest.mark.parametrize(("step", "left"), [(0, 0), (3, 3), (99, 5)])
def test_going_back_drops_later_points(step: int, left: int) -> None:
    series = Series()
    series.extend(Points.of(range(1, 6), [float(i) for i in range(1, 6)]))
    series.drop_after(step)
    assert len(series) == left
    assert series.steps.tolist() == list(range(1, left + 1))
