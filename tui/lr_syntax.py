"""Parses what the user types about the learning rate: `0.01`, `x0.5`, `hold 0.01`, `release`."""

from __future__ import annotations

import math

from torchconsole.engine.protocol.commands import (
    LARGEST_LR,
    HoldLearningRate,
    ReleaseLearningRate,
    SetLearningRate,
)
from torchconsole.engine.protocol.lr_state import LearningRateCommand

ACCEPTED = "a value such as 0.01 or 3e-4, or a factor such as x0.5"
ACCEPTED_LINES = "a value such as 0.01, a factor such as x0.5, hold, hold 0.01, or release"
ACCEPTED_HOLDS = "a value such as 0.01, or nothing to hold the current lr"


def parse_lr_line(text: str) -> LearningRateCommand:
    """Parse `0.01`, `x0.5`, `hold`, `hold 0.01` or `release`. Raises ValueError listing what is accepted."""
    word, _, rest = text.strip().lower().partition(" ")
    if word == "hold":
        return parse_hold(rest or None)
    if word == "release":
        if rest:
            raise ValueError(f"release takes no value, got {rest.strip()!r}")
        return ReleaseLearningRate()
    return _parse_value_or_factor(text, ACCEPTED_LINES)


def parse_learning_rate(text: str) -> SetLearningRate:
    """Parse a value (`0.01`) or a factor (`x0.5`, `*0.5`). Raises ValueError that lists what is accepted."""
    return _parse_value_or_factor(text, ACCEPTED)


def parse_hold(text: str | None) -> HoldLearningRate:
    """Parse the value to hold the lr at; None holds the current lr. Raises ValueError for anything else."""
    if text is None:
        return HoldLearningRate()
    number = _number(text, text.strip(), ACCEPTED_HOLDS)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"the lr cannot be held at {text.strip()}: type {ACCEPTED_HOLDS}")
    return HoldLearningRate(value=number)


def _parse_value_or_factor(text: str, accepted: str) -> SetLearningRate:
    typed = text.strip().lower()
    is_factor = typed.startswith(("x", "*"))
    number = _number(typed.lstrip("x*") if is_factor else typed, text, accepted)
    if not math.isfinite(number) or number < 0 or (is_factor and number == 0):
        what = "factor" if is_factor else "learning rate"
        problem = "negative" if number < 0 else f"{number:g}"
        raise ValueError(f"a {what} cannot be {problem}: type {accepted}")
    return SetLearningRate(factor=number) if is_factor else SetLearningRate(value=number)


def _number(text: str, typed: str, accepted: str) -> float:
    """Parse `text`, a part of what was `typed`."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{typed!r} is not a number: type {accepted}") from None
    if math.isfinite(number) and number > LARGEST_LR:
        raise ValueError(f"{number:g} is larger than the maximum {LARGEST_LR:g}: type {accepted}")
    return number
