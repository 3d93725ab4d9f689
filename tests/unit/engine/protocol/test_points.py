"""Points and series keep extremes and non-finite values within a bounded amount of memory."""

from __future__ import annotations

import gc
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from torchconsole.engine.protocol.buckets import Rows, merge
from torchconsole.engine.protocol.points import Points, decimate
from torchconsole.engine.protocol.series import CAPACITY, Series

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
    assert len(series) <= CAPACITY
    assert series.nbytes <= 56 * CAPACITY
    assert 30 * series.nbytes < 10_000_000, "a run has some ten series"
    rows = series.rows
    assert np.nanmax(rows.high) == 7.0
    assert 0 <= rows.steps[int(np.nanargmax(rows.high))] - 4_205_000 < 10_000_000 / 500
    assert series.steps[np.isnan(series.values)].tolist() == [4_206_000]
    assert series.steps[-1] == 9_999_999
    assert rows.counts.sum() == 10_000_000, "every value is counted"
    assert np.diff(series.steps, prepend=0).max() < 10_000_000 / 500, "no part of the run is missing"


def test_buckets_know_the_distribution_of_their_values() -> None:
    """Merged again and again, the percentiles stay those of the values."""
    series = Series()
    noise = np.random.default_rng(1)
    for start in range(0, 300_000, 250):
        series.append(np.arange(start, start + 250), noise.normal(3.0, 1.0, 250))
    rows = series.rows
    buckets = rows.take(rows.counts > 100)
    assert len(buckets.steps) > 500
    assert abs(np.average(buckets.values, weights=buckets.counts) - 3.0) < 0.01
    assert abs(buckets.p5.mean() - (3.0 - 1.645)) < 0.05
    assert abs(buckets.p95.mean() - (3.0 + 1.645)) < 0.05


@given(values=VALUES, width=st.integers(1, 60))
def test_merged_rows_contain_their_values(values: list[float], width: int) -> None:
    steps = np.arange(len(values))
    merged = merge(Rows.single(steps, np.array(values)), steps // width)
    again = merge(merged, merged.steps // (2 * width))
    for rows in (merged, again):
        finite = rows.take(np.isfinite(rows.values))
        assert rows.counts.sum() == len(values)
        assert (np.diff(rows.steps) > 0).all()
        for part in (finite.values, finite.p5, finite.p95):
            assert (finite.low <= part).all()
            assert (part <= finite.high).all()
        assert (finite.p5 <= finite.p95).all()
    small = np.array([value for value in values if math.isfinite(value)])
    if len(small):
        assert again.low[np.isfinite(again.low)].min() == small.min()
        assert again.high[np.isfinite(again.high)].max() == small.max()


def test_buckets_survive_a_message() -> None:
    series = Series()
    values = np.random.default_rng(2).random(20_000)
    values[7000:7010] = math.nan
    values[9000] = math.inf
    series.append(np.arange(20_000), values)
    points = Points.model_validate_json(series.to_points().model_dump_json())
    assert points.buckets is not None
    assert len(points.steps) <= CAPACITY // 2
    other = Series()
    other.extend(points)
    assert other.to_points().model_dump_json() == points.model_dump_json()
    assert other.rows.counts.sum() == 20_000
    other.add(20_000, 0.5)
    assert (other.steps[-1], other.values[-1]) == (20_000, 0.5)


def test_the_latest_value_of_a_thinned_series_is_exact() -> None:
    series = Series()
    for start in range(0, 100_000, 1000):
        series.append(np.arange(start, start + 1000), np.arange(start, start + 1000.0))
        assert (series.steps[-1], series.values[-1]) == (start + 999, start + 999)
        points = series.to_points()
        assert (points.steps[-1], points.values[-1]) == (start + 999, start + 999)


def test_going_back_in_a_long_series_leaves_whole_buckets() -> None:
    series = Series()
    series.append(np.arange(50_000), np.zeros(50_000))
    series.drop_after(30_000)
    assert 29_900 < series.steps[-1] <= 30_000
    assert series.rows.counts.sum() == series.steps[-1] + 1


@pytest.mark.parametrize("part", ["counts", "low", "p95"])
def test_points_need_an_entry_of_a_bucket_for_each_value(part: str) -> None:
    buckets = {"counts": [2], "low": [0.0], "high": [1.0], "p5": [0.1], "p95": [0.9]}
    with pytest.raises(ValidationError, match="as many entries as values"):
        Points.model_validate({"steps": [1], "values": [0.5], "buckets": {**buckets, part: []}})


def test_a_series_takes_the_memory_that_it_says() -> None:
    series = Series()
    tracemalloc.start()
    try:
        for start in range(0, 30_000, 250):
            series.append(np.arange(start, start + 250), np.zeros(250))
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert series.nbytes == 56 * CAPACITY
    assert taken < 1.1 * series.nbytes


def test_many_points_at_once_take_no_more_memory() -> None:
    series = Series()
    series.append(np.arange(200_000), np.zeros(200_000))
    assert series.nbytes <= 56 * CAPACITY
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
