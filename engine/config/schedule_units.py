"""The unit that a part of the lr schedule counts, steps or epochs, as in torch's documentation."""

from __future__ import annotations

from typing import Literal

Interval = Literal["step", "epoch"]

CHAINED = "ChainedScheduler"
"""The part whose schedulers run at the same time, so that their factors multiply."""

LENGTHS = ("T_max", "total_iters", "total_steps")
"""Arguments for the length of a schedule. If a preset leaves them out, the run's length is filled in."""

LENGTH_OF = {
    "ConstantLR": "total_iters",
    "CosineAnnealingLR": "T_max",
    "LinearLR": "total_iters",
    "OneCycleLR": "total_steps",
    "PolynomialLR": "total_iters",
}
"""The one of `LENGTHS` that each class of torch takes."""

BY_STEP = ("CyclicLR", "OneCycleLR")
"""Classes that torch's documentation steps after every batch."""


def default_interval(name: str, *, is_fitted: bool) -> Interval:
    """Return the unit that a scheduler counts if the preset sets no `interval`.

    Numbers that a preset states are epochs, as in torch's examples. A schedule whose length is filled in
    (`is_fitted`) has none and advances smoothly, step by step.
    """
    return "step" if is_fitted or name in BY_STEP else "epoch"
