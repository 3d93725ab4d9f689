"""Axes: stages, ticks and labels, ranges that stay, and outliers that do not flatten the rest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchconsole.engine.protocol.buckets import Rows
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.x_axis import XAxis, stage_end
from torchconsole.tui.charts.y_axis import YAxis, choose, needed_range


def axis_of(*values: float, rows: int = 13, log: bool = False) -> YAxis:
    """Return the axis that a line through these values gets."""
    steps = np.arange(1, len(values) + 1)
    curve = Curve("", "train", Rows.single(steps, np.array(values, dtype=float)))
    needed = needed_range([curve], XAxis(0, len(values), 40), log=log)
    assert needed is not None
    return choose(*needed, rows, log=log)


def labels(axis: YAxis) -> list[str]:
    """Return the labels from top to bottom."""
    return [label for _, label in axis.ticks]


@pytest.mark.parametrize(
    ("step", "end"), [(0, 100), (89, 100), (90, 200), (179, 200), (180, 400), (360, 800), (799, 800)]
)
def test_the_x_axis_grows_in_stages_of_the_run(step: int, end: int) -> None:
    assert stage_end(step, 800) == end


def test_the_x_axis_doubles_where_the_length_is_unknown() -> None:
    assert [stage_end(step, None) for step in (0, 14, 15, 28, 29, 900, 1000)] == [
        16,
        16,
        32,
        32,
        64,
        1024,
        2048,
    ]


@given(st.integers(0, 10**9), st.none() | st.integers(1, 10**9))
def test_a_stage_has_room_for_the_step_and_never_shrinks(step: int, total: int | None) -> None:
    assert stage_end(step, total) >= step
    assert stage_end(step + 1, total) >= stage_end(step, total)


@pytest.mark.parametrize(
    ("end", "columns", "expected"),
    [
        (40_000, 71, ["0", "10k", "20k", "30k", "40k"]),
        (40_000, 129, ["0", "5k", "10k", "15k", "20k", "25k", "30k", "35k", "40k"]),
        (5, 71, ["0", "2", "4"]),
        (1, 71, ["0", "1"]),
    ],
)
def test_ticks_of_the_x_axis_are_round_multiples(end: int, columns: int, expected: list[str]) -> None:
    assert [label for _, label in XAxis(0, end, columns).ticks()] == expected


def test_the_last_step_is_in_the_last_column() -> None:
    x = XAxis(0, 40_000, 71)
    assert (x.column_of(0), x.column_of(40_000), x.column_of(40_001) >= 70) == (0, 70, True)
    assert [x.column_of(x.step_at(column)) for column in range(71)] == list(range(71))


def test_ticks_are_in_the_middle_of_evenly_spaced_rows() -> None:
    axis = choose(0.02, 2.0, 22, log=True)
    assert labels(axis) == ["2", "1", "0.5", "0.25", "0.12", "0.062", "0.031", "0.016"]
    assert [row for row, _ in axis.ticks] == [0, 3, 6, 9, 12, 15, 18, 21]
    places = axis.places(np.array([2.0, 1.0, 0.015625]))
    assert places.tolist() == pytest.approx([0.5, 3.5, 21.5])


def test_a_wide_log_range_has_powers_of_ten_and_a_narrow_one_is_linear() -> None:
    assert labels(choose(1e-6, 5.0, 22, log=True))[-1] == "1e-6"
    assert not choose(0.5, 1.9, 12, log=True).is_log
    assert not choose(-1.0, 1.0, 12, log=True).is_log
    assert choose(0.1, 1.0, 12, log=True).is_log


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, ["1", "0.75", "0.5", "0.25", "0"]),
        (1000.0, 1010.0, ["1010", "1007.5", "1005", "1002.5", "1000"]),
        (-0.002, 0.002, ["0.002", "0.001", "0", "-0.001", "-0.002"]),
    ],
)
def test_labels_have_the_digits_that_they_need(low: float, high: float, expected: list[str]) -> None:
    assert labels(choose(low, high, 13)) == expected


def test_the_name_of_the_scale_is_that_of_the_axis_as_drawn() -> None:
    assert [choose(0.1, 1.0, 12, log=log).scale for log in (True, False)] == ["log", "lin"]
    assert choose(0.5, 1.9, 12, log=True).scale == "lin (<4x)"
    assert choose(0.0, 1.9, 12, log=True).scale == "lin (<=0)"
    assert choose(0.0, 1.9, 12).scale == "lin"


def test_a_linear_axis_is_left_once_the_values_can_be_logarithmic() -> None:
    axis = choose(1.0, 3.9, 12, log=True)
    assert axis.fits(1.0, 3.5)
    assert not axis.fits(0.9, 3.9)
    assert choose(1.0, 3.9, 12).fits(0.9, 3.9)


@given(st.floats(-1e300, 1e300), st.floats(0, 1e300), st.integers(1, 60), st.booleans(), st.booleans())
def test_an_axis_shows_all_of_the_range(low: float, span: float, rows: int, log: bool, exact: bool) -> None:
    high = min(low + span, 1e300)
    axis = choose(low, high, rows, log=log, exact=exact)
    assert axis.bottom < axis.top
    assert all(0 <= row < rows for row, _ in axis.ticks)
    if not exact:
        places = axis.places(np.array([low, high]))
        assert (-1e-6 * rows <= places).all()
        assert (places <= rows * (1 + 1e-6)).all()


def test_an_axis_is_kept_until_a_value_leaves_it_or_fills_less_than_half() -> None:
    axis = choose(0.0, 1.0, 13)
    assert axis.fits(0.0, 1.0)
    assert axis.fits(0.0, 0.6)
    assert not axis.fits(0.0, 0.4)
    assert not axis.fits(0.0, 1.5)


def test_the_first_losses_may_leave_the_chart_and_the_latest_may_not() -> None:
    falling = [*np.linspace(100, 1, 8), *np.linspace(1, 0.5, 992)]
    assert axis_of(*falling).top < 5
    assert axis_of(*falling, 10.0).top >= 10


EXPLODING = [10.0**power for power in range(0, 34)]
CONVERGED = [2.3, 1.5, 1.0, 0.7, *[0.5, 0.4] * 40]


@pytest.mark.parametrize(
    "after",
    [
        [*EXPLODING, np.nan, np.nan],
        [*EXPLODING, *[4e33] * 30, np.nan],
        [*EXPLODING, *[4e33] * 30],
        [0.5, 250.0, np.inf, np.nan],
    ],
)
@pytest.mark.parametrize("log", [False, True])
def test_a_divergence_does_not_flatten_the_values_before_it(after: list[float], log: bool) -> None:
    low, high = axis_of(*CONVERGED, *after, log=log).bounds
    assert low < 0.5
    assert high <= 300


def test_a_constant_is_in_the_middle() -> None:
    axis = axis_of(0.01, 0.01, 0.01)
    assert axis.places(np.array([0.01])).tolist() == pytest.approx([6.5], abs=2)
    assert axis_of(0.0, 0.0).top > 0


def test_the_highest_lr_is_the_top_tick() -> None:
    axis = choose(0.0, 0.0137, 5, exact=True)
    assert axis.ticks == ((0, "0.0137"), (4, "0"))
    assert [label for _, label in choose(0.0, 0.008, 13, exact=True).ticks] == [
        "0.008",
        "0.006",
        "0.004",
        "0.002",
        "0",
    ]
