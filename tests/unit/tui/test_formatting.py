"""Numbers, sizes and times as shown in narrow columns."""

from __future__ import annotations

import pytest

from torchconsole.tui.formatting import (
    format_bytes,
    format_count,
    format_duration,
    format_metric,
    format_number,
    format_percent,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01778, "0.0178"),
        (0.0005, "0.0005"),
        (1.25e-5, "1.25e-5"),
        (1e-30, "1e-30"),
        (1234, "1230"),
        (99999, "100000"),
        (1e7, "1e7"),
        (-2.5, "-2.5"),
        (float("nan"), "NaN"),
        (float("-inf"), "-inf"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0000"),
        (0.312, "0.3120"),
        (12.4, "12.40"),
        (0.00123, "0.00123"),
        (1e6, "1e6"),
        (float("nan"), "NaN"),
    ],
)
def test_metrics_have_a_stable_width(value: float, text: str) -> None:
    assert format_metric(value) == text


@pytest.mark.parametrize(("value", "text"), [(987, "987"), (999.9, "1k"), (18500, "18.5k"), (2.5e6, "2.5M")])
def test_counts_have_at_most_five_characters(value: float, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize(("value", "text"), [(512, "512 B"), (1.25 * 2**30, "1.25 GB")])
def test_sizes_use_powers_of_1024(value: float, text: str) -> None:
    assert format_bytes(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (725, "12:05"), (10925, "3:02:05"), (187500, "2d 04:05"), (-1, "0:00")]
)
def test_durations_show_days_only_if_needed(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.0, "0%"), (0.29, "29%"), (0.8199, "81%"), (0.999, "99%"), (1, "100%")]
)
def test_percentages_are_rounded_down_so_that_100_means_complete(fraction: float, text: str) -> None:
    assert format_percent(fraction) == text
