"""Which function made the outputs that a loss gets, its range, and how to remove it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchconsole.engine.analysis.findings.facts import Facts
from torchconsole.engine.analysis.findings.limits import Limits
from torchconsole.engine.analysis.findings.observe import LossCall
from torchconsole.engine.analysis.findings.provenance import WITHOUT_LIMITS

RANGES = {
    **dict.fromkeys(("sigmoid", "hardsigmoid", "softmax"), (0.0, 1.0)),
    **dict.fromkeys(("relu", "relu6", "softplus"), (0.0, math.inf)),
    "tanh": (-1.0, 1.0),
    **dict.fromkeys(("log_sigmoid", "log_softmax"), (-math.inf, 0.0)),
}
"""The smallest and the largest value that a function can return."""


def within(values: Tensor, low: float, high: float, tolerance: float) -> bool:
    """Whether all values are between `low` and `high`."""
    return bool(((values >= low - tolerance) & (values <= high + tolerance)).all())


def origin_of(facts: Facts, call: LossCall) -> str | None:
    """Return the function that made what the loss compares: one in the loss, or else one in the model."""
    if call.origin is not None:
        return call.origin
    origin = facts.trace.origin if facts.trace else None
    if origin is None or facts.outputs is None or call.input.numel() != facts.outputs.numel():
        return None
    values = call.input.detach().float().flatten()
    low, high = RANGES.get(origin, (-math.inf, math.inf))
    if facts.trace and facts.trace.is_dropped:
        high = math.inf if high > 0 else high  # dropout makes those larger that it keeps
    same = torch.allclose(values, facts.outputs.flatten(), rtol=1e-2)
    return origin if same and within(values, low, high, 1e-3) else None


def limits_of(facts: Facts, call: LossCall) -> Limits | None:
    """Return the limits of what the loss compares if that is the model's outputs as they are."""
    return facts.limits if call.is_output and origin_of(facts, call) in WITHOUT_LIMITS else None


def is_further_term(facts: Facts, call: LossCall) -> bool:
    """Whether an own loss compares the outputs as they are, and this call takes a function of them."""
    return call.origin is not None and any(other.is_output for other in facts.calls)


def layer_of(facts: Facts, function: str) -> str | None:
    """Return the name of the module that made the model's outputs with `function`; None if there is none."""
    trace = facts.trace
    return trace.layer if trace is not None and trace.origin == function else None


def remove_text(facts: Facts, call: LossCall | None, function: str) -> str:
    """Say how to remove a function from the loss or from the end of the model."""
    if call is not None and call.origin is not None:
        return f"remove {function} from the loss"
    if name := layer_of(facts, function):
        kind = type(facts.setup.model.get_submodule(name)).__name__
        return f"remove nn.{kind} ({name}) from the end of the model"
    return f"remove {function} from the end of the model's forward"
