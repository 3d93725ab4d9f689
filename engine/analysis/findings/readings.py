"""Findings on what metrics and predictions take the outputs for, if the loss is the user's own."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from torchconsole.engine.analysis.findings.facts import Facts, spread
from torchconsole.engine.analysis.findings.observe import main_output
from torchconsole.engine.analysis.findings.origins import remove_text, within
from torchconsole.engine.analysis.findings.provenance import PROBABILITIES
from torchconsole.engine.analysis.findings.rules import finding
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.protocol.reports import Finding

TOLERANCE = 1e-3

LIMITING = {"sigmoid", "softmax", "log_softmax", "log_sigmoid", "logsigmoid"}
"""Functions that take logits."""

REMOVE = "remove what limits the outputs from the end of the model's forward"


def find_in_readings(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if the outputs in evaluation are another form than `loss.outputs` says."""
    config, task = facts.setup.preset.loss, facts.setup.data.spec.task
    outputs = main_output(facts.dry_run.eval_outputs)
    if not is_user_code(config.name) or task == "regression" or outputs is None:
        return
    if not outputs.is_floating_point() or not outputs.numel() or not outputs.isfinite().all():
        return
    values = outputs.float()
    is_class = task == "multiclass"
    again = sorted(facts.use.functions & LIMITING)
    if again and _form(facts, values, is_class) == "probabilities":
        evidence = f"the outputs come from {_name(facts)}, and the loss applies {again[0]} to them"
        origin = facts.trace.origin if facts.trace else None
        remove = remove_text(facts, None, origin) if origin in PROBABILITIES else REMOVE
        yield finding("activation-twice", evidence, remove=remove, again=again[0])
        return
    if config.outputs is None:
        said = _form(facts, values, is_class)
        evidence = f"in evaluation the outputs come from {_name(facts)} and lie in {spread(values)}"
        if said is not None:
            yield finding("outputs-misread", evidence, said=said, taken="logits")
    elif config.outputs == "probabilities" and not within(values, 0.0, 1.0, TOLERANCE):
        end = "a softmax" if is_class else "a sigmoid"
        yield finding("outputs-no-probabilities", f"the outputs lie in {spread(values)}", end=end)


def _form(facts: Facts, values: Tensor, is_class: bool) -> str | None:
    """Return what the outputs are if they are no logits; a softmax of log-probabilities changes nothing."""
    origin = facts.trace.origin if facts.trace else None
    if any(call.name in LOGIT_LOSSES for call in facts.calls):
        return None  # It is another fault, which has a finding of its own.
    if within(values, 0.0, 1.0, TOLERANCE):
        limits = facts.limits
        by_value = limits is not None and limits.within(0, 1) and (limits.total is not None or not is_class)
        return "probabilities" if origin in PROBABILITIES or by_value else None
    return "log_probabilities" if origin == "log_sigmoid" else None


def _name(facts: Facts) -> str:
    origin = facts.trace.origin if facts.trace else None
    return origin if origin is not None and origin != "clamp" else "a function that limits them to 0 to 1"


LOGIT_LOSSES = ("cross_entropy", "binary_cross_entropy_with_logits", "soft_margin_loss")
"""Losses that take logits."""
