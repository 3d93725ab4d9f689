"""Findings on outputs whose limits are known by their values, and on a softmax before cross entropy."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from torchconsole.engine.analysis.findings.facts import Facts
from torchconsole.engine.analysis.findings.limits import Limits
from torchconsole.engine.analysis.findings.observe import LossCall
from torchconsole.engine.analysis.findings.origins import remove_text
from torchconsole.engine.analysis.findings.rules import finding
from torchconsole.engine.protocol.reports import Finding

SMALLEST_FLOOR = 0.005
"""Limits of the loss that would be written as 0.00 are left out."""

LOSS_NAMES = {
    "nll_loss": "NLLLoss",
    "kl_div": "KLDivLoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
    "soft_margin_loss": "SoftMarginLoss",
    "multilabel_soft_margin_loss": "MultiLabelSoftMarginLoss",
}
"""The classes of torch.nn by their functions."""


def softmax_before(facts: Facts, call: LossCall, evidence: str, classes: int, total: float) -> Finding:
    """Return the finding for outputs of which each row sums up to `total`."""
    floor = math.log(1 + (classes - 1) * math.exp(-total))
    effect = "the gradients are small"
    if floor >= SMALLEST_FLOOR:
        effect += f" and the loss cannot fall below {floor:.2f}"
    remove = remove_text(facts, call, "softmax")
    return finding("softmax-before-cross-entropy", evidence, remove=remove, effect=effect)


def limited_before_cross_entropy(
    facts: Facts, call: LossCall, limits: Limits, classes: int
) -> Iterator[Finding]:
    """Yield a finding for outputs whose limits are known by their values."""
    if limits.total is not None:
        evidence = f"{rows_of(call.input, 1)} sum to {limits.total:.3g} and are never negative"
        yield softmax_before(facts, call, f"{evidence}, whatever the weights are", classes, limits.total)
    elif limits.within(-1, 1):
        low = 0 if limits.within(0, 1) else -1
        best = math.exp(1 - low)
        yield finding(
            "activation-before-cross-entropy",
            f"the outputs lie in [{limits.low:.3g}, {limits.high:.3g}], whatever the weights are",
            range=f"{low} to 1",
            most=best / (best + classes - 1),
            remove=f"remove what limits the outputs to {low} to 1 from the end of the model's forward",
        )


def limited_before_bce(facts: Facts, call: LossCall, limits: Limits) -> Iterator[Finding]:
    """Yield a finding for outputs whose limits are known by their values."""
    evidence = f"the outputs lie in [{limits.low:.3g}, {limits.high:.3g}], whatever the weights are"
    loss, end = LOSS_NAMES[call.name], "from the end of the model's forward"
    if limits.sign:
        is_probability = limits.within(0, 1) and len(facts.calls) == 1
        what = "what limits the outputs to 0 to 1" if is_probability else "what limits their sign"
        yield finding(
            "activation-before-bce-with-logits",
            evidence,
            level="warning",
            loss=loss,
            sign="negative" if limits.sign > 0 else "positive",
            bound="at least" if limits.sign > 0 else "at most",
            predicted="positive" if limits.sign > 0 else "negative",
            instead=f'set loss.name = "BCELoss", or remove {what} {end}'
            if is_probability
            else f"remove {what} {end}",
        )
    elif limits.within(-1, 1):
        remove = f"remove what limits the outputs to -1 to 1 {end}"
        yield finding("tanh-before-bce-with-logits", evidence, remove=remove, loss=loss)


def rows_of(values: Tensor, dim: int) -> str:
    return f"the outputs of all {values.numel() // values.shape[dim]} rows"
