"""Plots: known drawings, what never moves, non-finite and extreme values, and any data in any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from torchconsole.engine.protocol.buckets import Rows
from torchconsole.engine.protocol.series import Series
from torchconsole.tui.charts.canvas import Line
from torchconsole.tui.charts.curves import Curve, Kind
from torchconsole.tui.charts.plot import PlotStyle, Surroundings, draw_plot
from torchconsole.tui.charts.x_axis import XAxis
from torchconsole.tui.charts.y_axis import YAxis, choose, needed_range

PLAIN = PlotStyle(has_vertical_grid=False)


def curve(*values: float, steps: list[int] | None = None, kind: Kind = "line", band: bool = False) -> Curve:
    """Return a curve of these values, by default over the steps 1, 2, ..."""
    at = np.array(steps if steps is not None else range(1, len(values) + 1), dtype=np.int64)
    rows = Rows.single(at, np.array(values, dtype=float))
    return Curve("", "train" if kind == "line" else "val", rows, kind, has_band=band)


def y_axis(low: float, high: float, rows: int) -> YAxis:
    """Return an axis with exactly these values at its edges and no ticks."""
    return YAxis(rows, low, high, False, ())


def plot(
    *curves: Curve,
    y: tuple[float, float] = (0, 1),
    rows: int = 4,
    columns: int = 10,
    end: int = 19,
    style: PlotStyle = PLAIN,
    around: Surroundings = Surroundings(),  # noqa: B008  # immutable
) -> list[Line]:
    """Draw curves on fixed axes."""
    return draw_plot(curves, XAxis(0, end, columns), y_axis(*y, rows), style, around).lines()


def texts(lines: list[Line]) -> list[str]:
    """Return the lines without their tones."""
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def tones_of(lines: list[Line], sign: str) -> set[str]:
    """Return the tones in which a sign is drawn."""
    return {tone for line in lines for text, tone in line if sign in text}


def test_a_falling_line_is_drawn_without_gaps() -> None:
    drawn = plot(curve(1, 0, steps=[0, 19]), rows=3)
    assert texts(drawn) == ["⠉⠒⢄⡀", "   ⠈⠒⠤⡀", "      ⠈⠑⠤⡀"]
    assert {tone for line in drawn for text, tone in line if text.strip()} == {"train"}


def test_an_exact_column_covers_its_lowest_to_its_highest_value() -> None:
    steps = list(range(200))
    drawn = plot(curve(*([0.001, 0.999] * 100), steps=steps, kind="exact"), end=199)
    assert [line[:9] for line in texts(drawn)] == ["⣿" * 9] * 4


def test_a_line_shows_the_mean_of_each_dot_column() -> None:
    drawn = plot(curve(*([0.0, 1.0] * 100), steps=list(range(200))), end=199, rows=5)
    assert [line[:9].strip() for line in texts(drawn)] == ["", "", "⠤⠢" * 4 + "⠤", "", ""]


def test_a_line_is_two_dots_thick_where_there_is_room() -> None:
    thin, thick = (
        sum(bin(ord(sign) - 0x2800).count("1") for line in texts(drawn) for sign in line if sign != " ")
        for drawn in (plot(curve(0.5, 0.5, steps=[0, 19]), rows=rows) for rows in (13, 14))
    )
    assert (thin, thick) == (20, 40)


def test_a_band_has_edges_of_eighths_and_whole_cells_of_background() -> None:
    spread = [value for step in range(20) for value in np.linspace(0.2, 0.8, 50).tolist()]
    steps = [step for step in range(20) for _ in range(50)]
    # Steps repeat: the plot itself does not mind.
    rows = Rows.single(np.array(steps), np.array(spread))
    band = Curve("", "train", rows, "line", has_band=True)
    drawn = plot(band, rows=8)
    assert drawn[:3] == [[(" " * 10, "text")], [("▂" * 10, "band")], [(" " * 10, "text on band")]]
    assert drawn[6:] == [[("▆" * 10, "bg on band")], [(" " * 10, "text")]]
    assert {tone for line in drawn[3:5] for _, tone in line} == {"text on band", "train on band"}
    without = plot(band, rows=8, style=PlotStyle(has_band=False, has_vertical_grid=False))
    assert not any("band" in tone for line in without for _, tone in line)


def test_evaluations_are_marked_and_the_last_and_the_best_stand_out() -> None:
    evaluations = curve(0.9, 0.2, 0.5, 0.6, steps=[0, 6, 12, 18], kind="evaluations")
    best = Curve("val", "val", evaluations.rows, "evaluations", best=6)
    drawn = plot(best)
    assert "".join(texts(drawn)).count("•") == 2
    assert tones_of(drawn, "★") == {"attn"}
    assert tones_of(drawn, "●") == {"val"}
    colorless = plot(best, style=PlotStyle(has_colors=False, has_vertical_grid=False))
    assert sorted("".join(texts(colorless)).replace(" ", "")) == sorted("••★●"), "marks without a line"


def test_curves_that_share_cells_join_their_dots_in_the_color_of_the_later_one() -> None:
    first, second = curve(0.5, 0.5, steps=[0, 19]), curve(0.3, 0.3, steps=[0, 19], kind="exact")
    drawn = plot(first, second, rows=2)
    alone = plot(second, rows=2)
    row = 0 if texts(alone)[0] else 1
    assert {tone for text, tone in drawn[row] if text.strip()} == {"val"}
    assert texts(drawn) != texts(alone)


def test_what_is_to_come_is_shaded_and_a_plan_is_dotted() -> None:
    ahead = curve(0.5, 0.5, steps=[10, 19], kind="plan")
    drawn = plot(ahead, around=Surroundings(now=4))
    assert any(tone.endswith("on future") for _, tone in drawn[0])
    dots = "".join(texts(drawn))
    assert 3 <= sum(bin(ord(sign) - 0x2800).count("1") for sign in dots if sign != " ") <= 4


def test_changes_are_lines_behind_the_curves() -> None:
    drawn = plot(curve(0.5, 0.5, steps=[0, 19]), around=Surroundings(changes=[4, 99]))
    assert [line[4:5] for line in texts(drawn)].count("┊") == 3
    assert tones_of(drawn, "┊") == {"steerdim"}


def test_the_cursor_is_a_line_that_leaves_the_curves_visible() -> None:
    drawn = plot(curve(0.5, 0.5, steps=[0, 19]), around=Surroundings(cursor=7))
    assert [line[7:8] for line in texts(drawn)].count("│") == 3


@pytest.mark.parametrize(("value", "sign", "row"), [(7.25, "▲", 0), (-3.0, "▼", 3)])
def test_a_clipped_value_is_an_arrow_with_the_value_at_the_edge(value: float, sign: str, row: int) -> None:
    drawn = plot(curve(0.5, value, 0.5, steps=[0, 8, 19]), columns=20)
    assert f"{sign} {value:g}" in texts(drawn)[row]
    assert tones_of(drawn, sign) == {"faint"}


def test_a_clipped_value_at_the_right_edge_has_its_number_left_of_it() -> None:
    drawn = plot(curve(0.5, 0.5, 80.5, steps=[0, 8, 19]), columns=20, end=39 // 2)
    assert "80.5▲" in texts(drawn)[0]


def test_an_lr_is_never_clipped() -> None:
    """After a jump to a huge lr and back, the axis reaches from 0 to the highest one."""
    lrs = curve(*[0.01] * 50, *[100.0] * 3, *[0.01] * 50, kind="exact")
    x = XAxis(0, 103, 40)
    needed = needed_range([lrs], x, log=False)
    assert needed == (0.01, 100.0)
    axis = choose(0.0, needed[1], 5, exact=True)
    assert [label for _, label in axis.ticks] == ["100", "0"]
    drawn = texts(draw_plot([lrs], x, axis, PLAIN).lines())
    assert not set("".join(drawn)) & set("▲▼")
    assert any("\u2800" < sign <= "\u28ff" for sign in drawn[0])


@pytest.mark.parametrize(("value", "row"), [(np.nan, 2), (np.inf, 0), (-np.inf, 3)])
def test_a_value_that_is_not_finite_is_marked(value: float, row: int) -> None:
    drawn = plot(curve(0.45, 0.45, value, value, 0.45, steps=[0, 8, 9, 10, 19]))
    assert [line.count("✗") for line in texts(drawn)] == [int(number == row) for number in range(4)]
    assert tones_of(drawn, "✗") == {"bad"}


def test_a_run_of_values_that_are_not_finite_is_marked_once() -> None:
    drawn = plot(curve(0.5, *[np.nan] * 15, steps=list(range(16))))
    assert "".join(texts(drawn)).count("✗") == 1


def test_a_grid_of_few_colors_is_dotted() -> None:
    axis = choose(0.0, 1.0, 9)
    drawn = texts(draw_plot([], XAxis(0, 100, 20), axis, PlotStyle(has_grid_lines=False)).lines())
    assert drawn[8] == "·   " * 4 + "·"


def test_a_line_between_two_points_outside_of_the_window_crosses_it() -> None:
    points = curve(0.1, 0.9, steps=[0, 100], kind="evaluations")
    drawn = texts(draw_plot([points], XAxis(40, 60, 10), y_axis(0, 1, 4), PLAIN).lines())
    assert {column for line in drawn for column, sign in enumerate(line) if sign != " "} == set(range(10))


FLOATS = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60)


@settings(max_examples=150, deadline=None)
@given(
    FLOATS,
    FLOATS,
    st.integers(1, 60),
    st.integers(1, 20),
    st.integers(1, 10**9),
    st.booleans(),
    st.sampled_from(["line", "evaluations", "exact", "plan"]),
    st.tuples(st.integers(0, 100), st.integers(1, 100)),
)
def test_any_data_is_drawn_inside_of_any_grid(
    first: list[float],
    second: list[float],
    columns: int,
    rows: int,
    stride: int,
    log: bool,
    kind: Kind,
    window: tuple[int, int],
) -> None:
    steps = [[(i + 1) * stride for i in range(len(values))] for values in (first, second)]
    curves = [curve(*first, steps=steps[0], band=True), curve(*second, steps=steps[1], kind=kind)]
    if steps[1]:
        best = steps[1][columns % len(steps[1])]
        curves[1] = Curve("", "val", curves[1].rows, kind, best=best)
    x = XAxis(window[0] * stride / 4, (window[0] + window[1]) * stride / 4, columns)
    needed = needed_range(curves, x, log=log)
    if needed is None:
        return
    axis = choose(*needed, rows, log=log)
    assert axis.bottom < axis.top
    lines = draw_plot(curves, x, axis, PlotStyle(), Surroundings(columns // 2, [0, 99], 3)).lines()
    assert [sum(len(text) for text, _ in line) for line in lines] == [columns] * rows


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.001, 10.0) | st.just(float("nan")), min_size=30, max_size=150),
    st.integers(1, 29),
    st.sampled_from([0.0, 0.9, 0.99]),
)
@example([*[np.nan] * 20, 8.4, *[np.nan] * 6, 2.3, 0.2, 5.6], 28, 0.0)  # the line ends where 2.3 and 0.2 are
def test_columns_that_are_past_never_change(values: list[float], count: int, smoothing: float) -> None:
    """More values on the same axes leave every column before the last line's as it was."""

    def drawn(upto: int) -> list[str]:
        rows = Rows.single(np.arange(upto), np.array(values[:upto]))
        one = Curve("", "train", rows, "line", has_band=True, smoothing=smoothing)
        return texts(draw_plot([one], x, y_axis(0, 11, 6), PLAIN).lines())

    x = XAxis(0, 150, 40)
    finite = [step for step in range(count) if np.isfinite(values[step])]
    # The last line leads to the last dot column, which may get more values.
    ends = [step for step in finite if x.dots_of(np.array([step])) < x.dots_of(np.array([finite[-1]]))]
    past = max(1, x.column_of(ends[-1] if ends else 0))
    before, after = drawn(count), drawn(len(values))
    # The line to the next point begins in the dot column of the last one.
    assert [line[: past - 1].rstrip() for line in before] == [line[: past - 1].rstrip() for line in after]


def test_a_thinned_series_is_drawn_like_its_values() -> None:
    """The band and the line of a million values hardly differ between single values and buckets."""
    values = np.random.default_rng(0).normal(0.5, 0.1, 100_000)
    series = Series()
    series.append(np.arange(len(values)), values)
    assert len(series) < 6000
    x, y = XAxis(0, len(values), 20), y_axis(0, 1, 10)
    whole, thinned = (
        draw_plot([Curve("", "train", rows, has_band=True, smoothing=0.99)], x, y, PLAIN).lines()
        for rows in (Rows.single(np.arange(len(values)), values), series.rows)
    )
    same = sum(
        a == b
        for one, two in zip(texts(whole), texts(thinned), strict=True)
        for a, b in zip(one, two, strict=False)
    )
    assert same >= 0.8 * sum(map(len, texts(whole)))
