"""The chart: known drawings, non-finite and extreme values, and any data in any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchconsole.tui.widgets.chart import Chart, Curve


def draw(*curves: Curve, width: int = 10, height: int = 4, note: str = "") -> list[str]:
    """Return the chart as lines of text."""
    chart = Chart("loss")
    chart.show(curves, note)
    return ["".join(text for text, _ in line).rstrip() for line in chart.draw(width, height)]


def curve(*values: float, steps: list[int] | None = None, marked: bool = False, label: str = "") -> Curve:
    """Return a curve of these values, by default over the steps 1, 2, ..."""
    at = steps if steps is not None else list(range(1, len(values) + 1))
    return Curve(label, "train", np.array(at, dtype=np.int64), np.array(values, dtype=float), marked)


def test_a_falling_line_is_drawn_without_gaps() -> None:
    assert draw(curve(3, 0, steps=[0, 9]), width=12) == [
        "loss 0.0000",
        "⠉⠒⠤⣀",
        "    ⠉⠒⠤⣀",
        "        ⠉⠒⠤⣀",
    ]


def test_a_column_covers_its_lowest_to_its_highest_value() -> None:
    steps = list(range(1, 201))
    plot = draw(curve(*([0.0, 1.0] * 100), steps=steps))[1:]
    assert [line[:9] for line in plot] == ["⣿" * 9] * 3


def test_marks_are_drawn_on_the_line() -> None:
    plot = "".join(draw(curve(1, 2, 1, steps=[0, 10, 20], marked=True), width=20)[1:])
    assert plot.count("•") == 3
    assert len(plot.replace(" ", "")) > 6


def test_marks_do_not_move_while_the_curve_grows() -> None:
    """However dense the points become, up to the right end of the axis."""
    noise = np.random.default_rng(0).random(2000)

    def marks(count: int) -> set[tuple[int, int]]:
        steps = list(range(1, 10 * count, 10))
        lines = draw(
            curve(0, 1, steps=[1, 20_000]), curve(*noise[:count], steps=steps, marked=True), width=29
        )
        return {
            (x, y) for y, line in enumerate(lines[1:]) for x, character in enumerate(line) if character == "•"
        }

    before: set[tuple[int, int]] = set()
    for count in range(100, 2001, 60):
        here = marks(count)
        assert {mark for mark in before if mark[0] < 29 * count // 2000 - 3} <= here
        before = here
    assert 9 <= len(before) <= 10


def test_curves_that_share_cells_are_both_visible() -> None:
    chart = Chart("loss")
    noisy = curve(*([0.0, 1.0] * 100))
    sparse = Curve("val", "val", np.array([50, 100, 150]), np.array([0.5, 0.5, 0.5]), marked=True)
    chart.show([noisy, sparse])
    tones = {tone for line in chart.draw(20, 5)[1:] for text, tone in line if text.strip()}
    assert tones == {"train", "val"}


def test_empty_cells_do_not_split_a_span_of_one_tone() -> None:
    chart = Chart("loss")
    chart.show([curve(0, 1, 0, 1, 0, 1, steps=[0, 20, 40, 60, 80, 100])])
    bottom = chart.draw(24, 4)[-1]
    assert len("".join(text for text, _ in bottom).split()) > 2
    assert [tone for _, tone in bottom] == ["train"]


@pytest.mark.parametrize(
    ("value", "badge"), [(np.nan, "NaN @ step 2"), (np.inf, "inf @ step 2"), (-np.inf, "-inf @ step 2")]
)
def test_a_non_finite_value_is_a_badge_and_leaves_no_gap(value: float, badge: str) -> None:
    with_it = draw(curve(1, value, 1, steps=[1, 2, 3]), width=40)
    without = draw(curve(1, 1, steps=[1, 3]), width=40)
    assert badge in with_it[0]
    assert with_it[1:] == without[1:]


def test_non_finite_values_alone_give_an_empty_plot_and_a_badge() -> None:
    lines = draw(curve(np.nan, np.nan), width=40, height=5)
    assert "NaN @ step 1" in lines[0]
    assert "no data yet" in "".join(lines)


def test_an_empty_chart_shows_that_there_is_no_data_yet() -> None:
    assert "no data yet" in "".join(draw(width=20))


def test_a_single_point_is_one_dot() -> None:
    assert draw(curve(0.5))[1:] == ["", "         ⠠", ""]


def test_a_constant_is_a_line_in_the_middle() -> None:
    assert draw(curve(0.01, 0.01, 0.01, steps=[0, 5, 10]))[1:] == ["", "⠤" * 10, ""]


def test_a_jump_leaves_no_gap() -> None:
    assert draw(curve(0, 1, 0, steps=[0, 5, 10]), height=5)[1:] == [
        "   ⢀⡞⢦",
        "  ⢠⠏ ⠈⢳⡀",
        " ⣰⠋    ⠹⣄",
        "⡼⠁      ⠘⢦",
    ]


def test_axis_labels_are_round() -> None:
    lines = draw(curve(*np.linspace(2.3, 0.1, 2500)), width=60, height=14)
    assert lines[-1].split() == ["0", "500", "1k", "1.5k", "2k", "2.5k"]
    labels = [line[:7].strip() for line in lines[1:-1] if "┤" in line]
    assert labels == ["2", "1.5", "1", "0.5", "0"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.00299, 0.00301, ["0.00301", "0.003005", "0.003", "0.002995", "0.00299"]),
        (1000.0, 1010.0, ["1010", "1007.5", "1005", "1002.5", "1000"]),
        (-0.002, 0.002, ["0.002", "0.001", "0", "-0.001", "-0.002"]),
        (1.000001e-5, 1.000005e-5, [f"1.00000{digit}e-5" for digit in (5, 4, 3, 2, 1)]),
    ],
)
def test_labels_have_enough_digits_to_differ(low: float, high: float, expected: list[str]) -> None:
    lines = draw(curve(*np.linspace(low, high, 100)), width=60, height=14)[1:-1]
    assert [line.partition("┤")[0].strip() for line in lines if "┤" in line] == expected
    assert len({max(line.find("┤"), line.find("│")) for line in lines}) == 1


def test_high_first_losses_do_not_flatten_the_rest_and_the_latest_is_always_visible() -> None:
    converged = [*np.linspace(10, 1, 10), *np.linspace(1, 0.5, 990)]
    assert "1┤" in "".join(draw(curve(*converged), width=40, height=12))
    assert "10┤" not in "".join(draw(curve(*converged), width=40, height=12))
    assert "10┤" in "".join(draw(curve(*converged, 10.0), width=40, height=12))


def labels_of(*values: float) -> list[str]:
    """Return the numbers beside the plot, from top to bottom."""
    return [line[:7].strip() for line in draw(curve(*values), width=60, height=14)[1:] if "┤" in line]


CONVERGED = [2.3, 1.5, 1.0, 0.7, *[0.5, 0.4] * 40]
EXPLODING = [10.0**power for power in range(0, 34)]


@pytest.mark.parametrize(
    "after",
    [
        [*EXPLODING, np.nan, np.nan],
        [*EXPLODING, *[4e33] * 30],
        [*EXPLODING, *[4e33] * 30, *[0.5, 0.4] * 10],
        [0.5, 250.0, np.inf, np.nan],
    ],
    ids=["to-nan", "stays-huge", "recovers", "short"],
)
def test_a_divergence_does_not_flatten_the_values_before_it(after: list[float]) -> None:
    assert 0 < float(labels_of(*CONVERGED, *after)[0]) <= 250


def test_the_last_losses_before_nan_do_not_flatten_the_rest() -> None:
    assert float(labels_of(*CONVERGED, *EXPLODING[:3], np.nan)[0]) < 3


def test_an_lr_that_decays_by_orders_of_magnitude_is_fully_visible() -> None:
    assert labels_of(*[0.1] * 10, *[0.001] * 10, *[0.00001] * 100)[0] == "0.1"


def test_the_step_axis_is_stable_while_the_curve_grows() -> None:
    axis = {draw(curve(1, 2, steps=[1, last]), width=60, height=8)[-1] for last in range(401, 420)}
    assert len(axis) == 1


def test_the_value_axis_is_stable_while_the_values_stay_within_it() -> None:
    """The noise of a long series crosses a round number and returns."""
    chart = Chart("loss")

    def axis(*values: float) -> str:
        chart.show([curve(*values)])
        return "".join(line[0][0] for line in chart.draw(60, 14)[1:-1])

    highest = axis(0.0, 1.01)
    assert {axis(0.0, 0.99), axis(0.0, 1.01), axis(0.05, 1.0)} == {highest}
    assert axis(0.0, 0.5) != highest
    assert axis(0.0, 0.99) != highest


def test_other_curves_get_a_new_value_axis() -> None:
    chart = Chart("lr")
    chart.show([curve(0.0, 1.01)])
    chart.draw(60, 14)
    chart.show([curve(0.0, 0.99), curve(0.0, 0.5, label="at the end")])
    shown = chart.draw(60, 14)
    fresh = Chart("lr")
    fresh.show([curve(0.0, 0.99), curve(0.0, 0.5, label="at the end")])
    assert shown == fresh.draw(60, 14)


def test_the_legend_shows_the_latest_values_and_the_note() -> None:
    lines = draw(
        curve(2, 0.3123, label="train"), curve(0.2841, label="val", marked=True), width=60, note="-> 0.018"
    )
    assert lines[0] == "loss  ─ train 0.3123  • val 0.2841 -> 0.018"


@pytest.mark.parametrize(("width", "legend"), [(6, "loss…"), (13, "loss  ─ trai…"), (16, "loss  ─ train 0…")])
def test_a_legend_that_is_too_long_ends_in_one_ellipsis(width: int, legend: str) -> None:
    assert draw(curve(2, 0.3123, label="train"), curve(0.2841, label="val"), width=width)[0] == legend


values = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60)


@settings(max_examples=150, deadline=None)
@given(values, values, st.integers(1, 90), st.integers(1, 20), st.integers(1, 10**9), st.booleans())
def test_any_data_is_drawn_in_any_size(
    first: list[float], second: list[float], width: int, height: int, stride: int, marked: bool
) -> None:
    chart = Chart("loss")
    steps = [[(i + 1) * stride for i in range(len(values))] for values in (first, second)]
    chart.show([curve(*first, steps=steps[0]), curve(*second, steps=steps[1], marked=marked)])
    lines = chart.draw(width, height)
    assert len(lines) <= height
    assert all(sum(len(text) for text, _ in line) <= width for line in lines[1:])
