"""Findings on losses that compare each output with a target of its own: shapes, ranges and class numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from torchconsole.engine.analysis.findings.facts import Facts
from torchconsole.engine.analysis.findings.observe import LossCall
from torchconsole.engine.analysis.findings.origins import (
    RANGES,
    is_further_term,
    limits_of,
    origin_of,
    remove_text,
)
from torchconsole.engine.analysis.findings.rules import Level, finding
from torchconsole.engine.components.data.target_scaling import TargetUnit
from torchconsole.engine.protocol.reports import Finding

UNREACHABLE = 0.25
"""Fraction of a batch's targets outside of the outputs' range that is no matter of a few outliers."""


def compare_with_targets(facts: Facts, call: LossCall) -> Iterator[Finding]:
    """Yield the findings on a loss that compares each output with a target of its own."""
    output, target = call.input, call.target
    if output.shape != target.shape and min(output.numel(), target.numel()) > 1:
        if call.has_targets:
            yield from _broadcast(call)
    elif call.name == "elementwise":
        return
    elif facts.setup.data.spec.task == "regression":
        yield from _out_of_reach(facts, call)
    elif call.name != "poisson_nll_loss":
        yield from _classes_as_numbers(facts, call)


def _broadcast(call: LossCall) -> Iterator[Finding]:
    output, target = tuple(call.input.shape), tuple(call.target.shape)
    try:
        result = torch.broadcast_shapes(output, target)  # type: ignore[no-untyped-call]
    except RuntimeError:
        return
    evidence = f"outputs {output} and targets {target} become {tuple(result)}"
    is_outer = math.prod(result) > max(math.prod(output), math.prod(target))
    is_loss = call.name not in ("-", "elementwise")
    if len(output) != len(target) and (is_outer or (is_loss and output[0] == target[0])):
        line = "targets.unsqueeze(1)" if len(target) < len(output) else "outputs.squeeze(1)"
        yield finding("targets-broadcast", evidence, line=line)
    elif is_loss:
        yield finding("targets-repeated", evidence)


def _out_of_reach(facts: Facts, call: LossCall) -> Iterator[Finding]:
    """Yield a finding if many targets are outside of the range of an activation at the end of the model."""
    origin, targets = origin_of(facts, call), call.target.detach().float()
    if call.name in ("-", "poisson_nll_loss") or not call.has_targets or is_further_term(facts, call):
        return
    level: Level | None = None
    if origin in RANGES:
        low, high = RANGES[origin]
    elif (limits := limits_of(facts, call)) is not None:
        low, high = limits.rounded
        level = "warning"
    else:
        return
    outside = _outside(targets, low, high)
    if outside > UNREACHABLE:
        what, made_by = "targets", origin if origin in RANGES else "a function with such limits"
        remedy = "remove what limits the outputs from the end of the model's forward"
        if origin in RANGES:
            remedy = remove_text(facts, call, origin)
        if facts.setup.data.spec.target_scale is not None:
            what = "standardized targets"
            unit = TargetUnit(facts.setup.data.spec.target_scale, targets.device)
            if _outside(unit(targets), low, high) <= UNREACHABLE:
                remedy += (
                    ", or set data.scale_target = false, so that the model learns the targets as they are"
                )
        evidence = (
            f"the outputs come from {made_by}, but {outside:.0%} of the {what} of the first batch are not "
            f"between {low:g} and {high:g}"
        )
        yield finding("targets-out-of-reach", evidence, level=level, remedy=remedy)


def _outside(targets: Tensor, low: float, high: float) -> float:
    """Return the fraction of targets that are not between `low` and `high`."""
    return ((targets < low) | (targets > high)).float().mean().item()


def _classes_as_numbers(facts: Facts, call: LossCall) -> Iterator[Finding]:
    spec, target = facts.setup.data.spec, call.target.detach().float()
    labels = facts.targets.detach().float().flatten()
    if spec.task == "multiclass" and target.numel() == len(labels) and torch.equal(target.flatten(), labels):
        if spec.num_outputs > 2:
            evidence = (
                f"outputs {tuple(call.input.shape)} are compared with the numbers of the classes, 0 to "
            )
            yield finding("classes-as-numbers", f"{evidence}{spec.num_outputs - 1}")
    elif call.name != "-":
        usual = "CrossEntropyLoss" if spec.task == "multiclass" else "BCEWithLogitsLoss"
        yield finding("squared-error-on-classes", f"the loss is {call.name} on {spec.task} data", usual=usual)
