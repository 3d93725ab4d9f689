"""What the user may type about the learning rate, and the errors that list what is accepted."""

from __future__ import annotations

import re

import pytest

from torchconsole.engine.protocol.commands import HoldLearningRate, ReleaseLearningRate, SetLearningRate
from torchconsole.engine.protocol.lr_state import LearningRateCommand
from torchconsole.tui.lr_syntax import ACCEPTED, parse_learning_rate, parse_lr_line


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
def test_a_learning_rate_is_a_value_or_a_factor(text: str, command: SetLearningRate) -> None:
    assert parse_learning_rate(text) == command


@pytest.mark.parametrize(
    "text", ["", "fast", "x", "x0", "-1", "nan", "inf", "xinf", "x-2", "0.1.2", "1e9", "x1e9", "hold"]
)
def test_an_invalid_learning_rate_raises_an_error_that_lists_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(ACCEPTED)):
        parse_learning_rate(text)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("hold 0.01", HoldLearningRate(value=0.01)),
        (" HOLD  0 ", HoldLearningRate(value=0.0)),
        ("hold", HoldLearningRate()),
        ("release", ReleaseLearningRate()),
        ("*2", SetLearningRate(factor=2.0)),
        ("1e-3", SetLearningRate(value=1e-3)),
    ],
)
def test_a_line_may_also_hold_or_release_the_lr(text: str, command: LearningRateCommand) -> None:
    assert parse_lr_line(text) == command


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("hold x0.5", "'x0.5' is not a number: type a value such as 0.01, or nothing to hold the current lr"),
        ("hold -1", "the lr cannot be held at -1"),
        ("hold inf", "the lr cannot be held at inf"),
        ("hold 1e9", "1e+09 is larger than the maximum 1000"),
        ("release 3", "release takes no value, got '3'"),
        ("let go", "'let go' is not a number: type a value such as 0.01, a factor such as x0.5, hold, "),
        ("-1", "a learning rate cannot be negative: type a value such as 0.01, a factor such as x0.5, hold"),
    ],
)
def test_an_invalid_line_raises_an_error_that_names_the_problem(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=re.escape(error)):
        parse_lr_line(text)
