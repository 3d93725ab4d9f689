"""Reads a learning rate as a person types it."""

from __future__ import annotations

import math

from torchconsole.engine.protocol.commands import SetLearningRate

ACCEPTED = "a value such as 0.01 or 3e-4, or a factor such as x0.5"


def parse_learning_rate(text: str) -> SetLearningRate:
    """`0.01` is a value, `x0.5` or `*0.5` a factor of the lr. Raises ValueError saying what is accepted."""
    written = text.strip().lower()
    is_factor = written.startswith(("x", "*"))
    try:
        number = float(written.lstrip("x*") if is_factor else written)
    except ValueError:
        raise ValueError(f"{text!r} is not a number: type {ACCEPTED}") from None
    if not math.isfinite(number) or number < 0 or (is_factor and number == 0):
        what = "factor" if is_factor else "learning rate"
        wrong = "negative" if number < 0 else f"{number:g}"
        raise ValueError(f"a {what} cannot be {wrong}: type {ACCEPTED}")
    return SetLearningRate(factor=number) if is_factor else SetLearningRate(value=number)
