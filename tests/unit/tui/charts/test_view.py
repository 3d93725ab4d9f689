"""The window and the cursor of the chart mode."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from torchconsole.tui.charts.view import ChartView
from torchconsole.tui.charts.x_axis import XAxis

WHOLE = XAxis(0, 1000, 50)


def test_zooming_halves_the_window_around_the_cursor_and_back_shows_all() -> None:
    view = ChartView(cursor=250)
    view.zoom(0.5, WHOLE, 600)
    assert view.window == (125, 625)
    view.zoom(0.5, WHOLE, 600, at=600)
    first, last = view.steps(WHOLE, 600)
    assert last - first == 250
    assert (600 - first) / 250 == (600 - 125) / 500, "the step under the pointer stays there"
    view.zoom(4, WHOLE, 600)
    assert view.window is None


def test_panning_stays_inside_of_the_run() -> None:
    view = ChartView((100, 300))
    view.pan(0.25, WHOLE, 600)
    assert view.window == (150, 350)
    for _ in range(20):
        view.pan(-0.25, WHOLE, 600)
    assert view.window == (0, 200)


def test_following_keeps_the_newest_step_in_sight_and_moves_seldom() -> None:
    view = ChartView()
    view.follow(WHOLE, 600)
    windows = {view.steps(WHOLE, last) for last in range(600, 700)}
    assert all(first <= last <= end for last in (650,) for first, end in [view.steps(WHOLE, last)])
    assert len(windows) <= 5
    view.pan(-0.25, WHOLE, 700)
    assert not view.is_following


def test_the_cursor_moves_by_columns_and_takes_the_window_with_it() -> None:
    view = ChartView((100, 200))
    x = XAxis(100, 200, 50)
    view.move_cursor(-1, x, WHOLE, 600)
    assert view.cursor == 200
    view.move_cursor(-10, x, WHOLE, 600)
    assert 178 <= view.cursor <= 182
    view.place_cursor(0, WHOLE, 600)
    assert view.window == (0, 100)
    view.place_cursor(9999, WHOLE, 600)
    assert (view.cursor, view.window) == (600, (500, 600))


MOVES = st.lists(
    st.tuples(st.sampled_from(["zoom", "pan", "follow", "all", "move", "place"]), st.floats(-8, 8)),
    max_size=30,
)


@given(MOVES, st.integers(1, 10**7), st.integers(0, 10**7), st.integers(1, 200))
def test_whatever_is_pressed_the_window_is_valid(
    moves: list[tuple[str, float]], end: int, last: int, columns: int
) -> None:
    whole, last = XAxis(0, end, columns), min(last, end)
    view = ChartView()
    for move, amount in moves:
        x = XAxis(*view.steps(whole, last), columns)
        if move == "zoom":
            view.zoom(0.5 if amount < 0 else 2, whole, last)
        elif move == "pan":
            view.pan(amount, whole, last)
        elif move == "follow":
            view.follow(whole, last)
        elif move == "all":
            view.show_all()
        elif move == "move":
            view.move_cursor(round(amount) or 1, x, whole, last)
        else:
            view.place_cursor(amount * end, whole, last)
        first, until = view.steps(whole, last)
        assert until > first
        assert view.cursor is None or 0 <= view.cursor <= last
