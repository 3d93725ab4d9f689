"""Numbers as people read them, and learning rates as people type them."""

from __future__ import annotations

import re

import pytest

from torchconsole.engine.protocol.commands import SetLearningRate
from torchconsole.tui.formatting import (
    format_bytes,
    format_count,
    format_duration,
    format_metric,
    format_number,
)
from torchconsole.tui.lr_syntax import ACCEPTED, parse_learning_rate


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
def test_numbers(value: float, text: str) -> None:
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
def test_metrics_keep_their_width(value: float, text: str) -> None:
    assert format_metric(value) == text


@pytest.mark.parametrize(("value", "text"), [(987, "987"), (999.9, "1k"), (18500, "18.5k"), (2.5e6, "2.5M")])
def test_counts(value: float, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize(("value", "text"), [(512, "512 B"), (1.25 * 2**30, "1.25 GB")])
def test_sizes(value: float, text: str) -> None:
    assert format_bytes(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (725, "12:05"), (10925, "3:02:05"), (187500, "2d 04:05"), (-1, "0:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("0.01", SetLearningRate(value=0.01)),
        (" 3e-4 ", SetLearningRate(value=3e-4)),
        ("0", SetLearningRate(value=0)),
        ("x0.5", SetLearningRate(factor=0.5)),
        ("*2", SetLearningRate(factor=2)),
    ],
)
def test_learning_rates_are_values_or_factors(text: str, command: SetLearningRate) -> None:
    assert parse_learning_rate(text) == command


@pytest.mark.parametrize(
    "text", ["", "fast", "x", "x0", "-1", "nan", "inf", "xinf", "x-2", "0.1.2", "1e9", "x1e9"]
)
def test_a_mistake_names_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(ACCEPTED)):
        parse_learning_rate(text)
