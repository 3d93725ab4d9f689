"""Findings on numbers that are nan or infinite in the first step: the run would stop there, or skip steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from torchconsole.engine.analysis.findings.facts import Facts
from torchconsole.engine.analysis.findings.modules import some
from torchconsole.engine.analysis.findings.observe import main_output
from torchconsole.engine.analysis.findings.rules import finding
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.training.elements import dense_parts, is_finite

WARNING = {"level": "warning"}


def find_in_numbers(facts: Facts) -> Iterator[Finding]:
    """Yield the first of loss, gradients and weights that is not finite, and the validation loss.

    Where the run goes on, since it skips such steps or since clipping mends them, these are warnings. The
    gradients of fp16 are the scaler's matter.
    """
    seen, setup = facts.dry_run, facts.setup
    skips = setup.preset.training.nonfinite == "skip"
    bad_gradients = [
        name for name, norm in seen.gradients.items() if norm is not None and not math.isfinite(norm)
    ]
    broken = seen.nonfinite_weights
    if not math.isfinite(seen.loss):
        origin, remedy = _origin(facts)
        evidence = f"the loss of the first batch is {seen.loss}; {origin}"
        yield _as_warning(skips, finding("nonfinite-loss", evidence, remedy=remedy))
    elif bad_gradients and setup.precision.scaler is None:
        evidence = (
            f"the loss of the first batch is {seen.loss:.4g}, but {len(bad_gradients)} of "
            f"{len(seen.gradients)} gradients are nan or infinite: {some(bad_gradients)}"
        )
        yield _as_warning(skips or not broken, finding("nonfinite-gradients", evidence))
    elif broken:
        evidence = f"after a step on the first batch, these weights are nan or infinite: {some(broken)}"
        yield finding("nonfinite-weights", evidence, lr=f"{setup.preset.optimizer.lr:g}")
    loss = seen.metrics.get("val/loss")
    if loss is not None and not math.isfinite(loss) and not broken:
        found = finding("nonfinite-validation-loss", f"the loss of the first validation batches is {loss}")
        yield _as_warning(skips, found)


def _as_warning(condition: bool, found: Finding) -> Finding:
    return found.model_copy(update=WARNING) if condition else found


def _origin(facts: Facts) -> tuple[str, str]:
    """Return the first that is not finite of what the loss is computed from, and what to do about it."""
    seen, setup = facts.dry_run, facts.setup
    targets = seen.batch[1]
    weights = [
        name
        for name, tensor in (*setup.model.named_parameters(), *setup.model.named_buffers())
        if tensor.is_floating_point() and dense_parts(tensor)[0].isnan().any()
    ]
    outputs = main_output(seen.outputs)
    if not is_finite(facts.inputs):
        remedy = "replace missing and extreme values in the data, and check data.normalize"
        return f"{_count(facts.inputs)} values of its inputs are nan or infinite", remedy
    if not is_finite(targets):
        remedy = "replace missing values in the targets, or remove their samples"
        return f"{_count(targets)} values of its targets are nan or infinite", remedy
    if weights:
        remedy = "initialize them in the model's __init__ (torch.empty does not), or check model.weights"
        return f"inputs and targets are finite, but these weights are nan: {some(weights)}", remedy
    if outputs is not None and not is_finite(outputs):
        remedy = (
            "look in the model's forward for a division by 0, the log or the root of 0, exp of large numbers "
            "and a softmax over rows that are masked as a whole; check data.normalize and model.init"
        )
        return "inputs, targets and weights are finite, but the model's outputs are not", remedy
    remedy = "keep the loss away from log(0) and divisions by 0, for example with clamp(min=1e-8)"
    return "the outputs and targets are finite, but what the loss makes of them is not", remedy


def _count(tensor: Tensor) -> str:
    return f"{int((~tensor.isfinite()).sum()):,} of {tensor.numel():,}"
