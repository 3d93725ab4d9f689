"""The sparkline: its bars, its latest value, and non-finite values."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from torchconsole.tui.widgets.metrics_panels import Sparkline, spark_rows


def test_bars_reach_from_the_lowest_to_the_highest_value() -> None:
    assert spark_rows(np.arange(8.0), 1) == ["▁▂▃▄▅▆▇█"]
    assert spark_rows(np.array([0.0, 1.0]), 2) == [" █", "▁█"]


def test_a_constant_is_drawn_at_half_height() -> None:
    assert spark_rows(np.full(3, 0.7), 1) == ["▅▅▅"]


def test_a_non_finite_value_is_an_exclamation_mark() -> None:
    assert spark_rows(np.array([0.0, np.nan, 1.0]), 1) == ["▁!█"]
    assert spark_rows(np.array([np.nan, np.inf]), 2) == ["  ", "!!"]


def test_the_newest_values_are_drawn_and_the_last_one_is_printed() -> None:
    line = Sparkline("train", "train")
    line.show(np.arange(100.0))
    [parts] = line.draw(25, 1)
    assert "".join(text for text, _ in parts) == "train ▁▂▃▃▄▅▆▆▇█    99.00"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(), max_size=40), st.integers(1, 60), st.integers(1, 4))
def test_any_data_is_drawn_in_any_size(values: list[float], width: int, height: int) -> None:
    line = Sparkline("val", "val")
    line.show(np.array(values, dtype=float))
    for parts in line.draw(width, height):
        assert len(parts) in (1, 3)
