"""Reads what a person types about the learning rate."""

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


def parse_lr_line(text: str) -> LearningRateCommand:
    """`0.01`, `x0.5`, `hold`, `hold 0.01` or `release`. Raises ValueError saying what is accepted."""
    word, _, rest = text.strip().lower().partition(" ")
    if word == "hold":
        return parse_hold(rest or None)
    if word == "release":
        if rest:
            raise ValueError(f"release takes no value, got {rest.strip()!r}")
        return ReleaseLearningRate()
    try:
        return parse_learning_rate(text)
    except ValueError as mistake:
        raise ValueError(str(mistake).replace(ACCEPTED, ACCEPTED_LINES)) from None


def parse_learning_rate(text: str) -> SetLearningRate:
    """`0.01` is a value, `x0.5` or `*0.5` a factor of the lr. Raises ValueError saying what is accepted."""
    written = text.strip().lower()
    is_factor = written.startswith(("x", "*"))
    number = _number(written.lstrip("x*") if is_factor else written, text, ACCEPTED)
    if not math.isfinite(number) or number < 0 or (is_factor and number == 0):
        what = "factor" if is_factor else "learning rate"
        wrong = "negative" if number < 0 else f"{number:g}"
        raise ValueError(f"a {what} cannot be {wrong}: type {ACCEPTED}")
    if number > LARGEST_LR:
        raise ValueError(f"{number:g} is more than {LARGEST_LR:g}, at which nothing trains: type {ACCEPTED}")
    return SetLearningRate(factor=number) if is_factor else SetLearningRate(value=number)


def parse_hold(text: str | None) -> HoldLearningRate:
    """A value to hold the lr at; without one it is held where it is. Raises ValueError for anything else."""
    if text is None:
        return HoldLearningRate()
    accepted = "a value such as 0.01, or nothing to hold the lr where it is"
    number = _number(text, text.strip(), accepted)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"an lr cannot be held at {text.strip()}: type {accepted}")
    if number > LARGEST_LR:
        raise ValueError(f"{number:g} is more than {LARGEST_LR:g}, at which nothing trains: type {accepted}")
    return HoldLearningRate(value=number)


def _number(written: str, typed: str, accepted: str) -> float:
    try:
        return float(written)
    except ValueError:
        raise ValueError(f"{typed!r} is not a number: type {accepted}") from None
