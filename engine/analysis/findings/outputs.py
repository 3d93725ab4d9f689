"""Findings on what the model's outputs are and on what the loss takes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor, nn

from torchconsole.engine.analysis.findings.facts import Facts, spread
from torchconsole.engine.analysis.findings.limited_outputs import (
    LOSS_NAMES,
    limited_before_bce,
    limited_before_cross_entropy,
    rows_of,
    softmax_before,
)
from torchconsole.engine.analysis.findings.limits import has_fixed_scale
from torchconsole.engine.analysis.findings.observe import LossCall
from torchconsole.engine.analysis.findings.origins import (
    RANGES,
    is_further_term,
    layer_of,
    limits_of,
    origin_of,
    remove_text,
    within,
)
from torchconsole.engine.analysis.findings.provenance import WITHOUT_LIMITS
from torchconsole.engine.analysis.findings.readings import find_in_readings
from torchconsole.engine.analysis.findings.rules import finding
from torchconsole.engine.analysis.findings.targets import compare_with_targets
from torchconsole.engine.components.parameters import enter_train_mode
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.training.preserve import preserve

SUM_TOLERANCE, ROUNDED_TOLERANCE = 1e-3, 0.02
"""How far from 1 the probabilities of a row may sum up to, in float32 and in half precision."""

LOG_TOLERANCE = 0.1
"""How far from 0 the logarithm of that sum may be: some models clamp or smooth their probabilities."""


def find_in_outputs(facts: Facts) -> Iterator[Finding]:
    """Yield the findings on each comparison of outputs and targets in the loss."""
    done: set[str] = set()
    for call in facts.calls:
        check = CHECKS.get(call.name)
        if check is None or not call.input.isfinite().all():
            continue
        for found in check(facts, call):
            if found.name not in done:
                done.add(found.name)
                yield found
    yield from find_in_readings(facts)
    yield from _eval_activation(facts)
    yield from _outputs_alike(facts)
    yield from _first_loss(facts)


def is_distribution(values: Tensor, dim: int, tolerance: float) -> bool:
    """Whether values are within 0 and 1 and sum up to 1 along `dim`."""
    if values.ndim <= dim or values.shape[dim] < 2 or not within(values, 0.0, 1.0, 1e-6):
        return False
    return bool(((values.sum(dim) - 1).abs() <= tolerance).all())


def _cross_entropy(facts: Facts, call: LossCall) -> Iterator[Finding]:
    values, dim = call.input.detach().float(), _class_dim(call.input)
    classes = values.shape[dim]
    tolerance = ROUNDED_TOLERANCE if facts.rounded else SUM_TOLERANCE
    if is_distribution(values, dim, tolerance):
        evidence = f"{rows_of(values, dim)} sum to 1 and lie in {spread(values)}"
        yield softmax_before(facts, call, evidence, classes, 1.0)
    elif call.is_known and dim == 1 and len(values) > 1 and is_distribution(values, 0, tolerance):
        yield _over_batch(facts, call, "softmax", values)
    elif (origin := origin_of(facts, call)) == "softmax":
        evidence = f"the outputs come from softmax and lie in {spread(values)}"
        yield softmax_before(facts, call, evidence, classes, 1.0)
    elif origin in ("relu", "relu6"):
        evidence = f"the outputs come from {origin}, and {(values == 0).float().mean():.0%} of them are 0"
        yield finding("relu-before-cross-entropy", evidence, remove=remove_text(facts, call, origin))
    elif origin in ("sigmoid", "hardsigmoid", "tanh"):
        low, high = RANGES[origin]
        best = math.exp(high - low)
        yield finding(
            "activation-before-cross-entropy",
            f"the outputs come from {origin} and lie in {spread(values)}",
            range=f"{low:g} to {high:g}",
            most=best / (best + classes - 1),
            remove=remove_text(facts, call, origin),
        )
    elif limits := limits_of(facts, call):
        yield from limited_before_cross_entropy(facts, call, limits, classes)


def _log_probabilities(facts: Facts, call: LossCall) -> Iterator[Finding]:
    # Other values may be terms of an own loss: a focal loss, or -outputs[target] of a cross entropy.
    if not call.is_known or (call.is_output and not call.is_alone) or call.origin == "log_sigmoid":
        return
    values, dim = call.input.detach().float(), _class_dim(call.input)
    if origin_of(facts, call) == "clamp" and bool((values <= 0).all()):
        return  # Clamped logarithms of probabilities.
    sums = values.logsumexp(dim)
    dims = range(values.ndim) if call.name == "kl_div" else [dim]
    if any(bool((values.logsumexp(each).abs() <= LOG_TOLERANCE).all()) for each in dims):
        return
    if values.shape[dim] < 2:
        return
    if dim == 1 and len(values) > 1 and is_distribution(values.exp(), 0, ROUNDED_TOLERANCE):
        yield _over_batch(facts, call, "log_softmax", values)
        return
    name = layer_of(facts, "softmax")
    if is_distribution(values, dim, ROUNDED_TOLERANCE):
        evidence = f"{rows_of(values, dim)} sum to 1: they are probabilities, not their logarithms"
        replace = f"use nn.LogSoftmax instead of nn.Softmax ({name})" if name else "use log_softmax"
    else:
        evidence = f"{rows_of(values, dim)} are not logarithms of probabilities: exp(outputs) sums to "
        evidence += f"{spread(sums.exp())} instead of 1"
        replace = "end the model with nn.LogSoftmax(dim=1)"
    yield finding("log-probabilities-missing", evidence, log_softmax=replace, loss=LOSS_NAMES[call.name])


def _bce_with_logits(facts: Facts, call: LossCall) -> Iterator[Finding]:
    values = call.input.detach().float()
    origin = origin_of(facts, call)
    if call.is_known and values.ndim == 2 and is_distribution(values, 1, SUM_TOLERANCE):
        origin = "softmax"
    if (limits := limits_of(facts, call)) is not None and origin in WITHOUT_LIMITS:
        yield from limited_before_bce(facts, call, limits)
    if origin is None or origin not in RANGES or is_further_term(facts, call):
        return
    remove = remove_text(facts, call, origin)
    evidence = f"the outputs come from {origin} and lie in {spread(values)}"
    low = RANGES[origin][0]
    if origin == "tanh":
        yield finding("tanh-before-bce-with-logits", evidence, remove=remove, loss=LOSS_NAMES[call.name])
        return
    own = call.origin is not None or len(facts.calls) > 1
    uses_bce = origin == "sigmoid" and not own
    yield finding(
        "activation-before-bce-with-logits",
        evidence,
        loss=LOSS_NAMES[call.name],
        sign="negative" if low == 0 else "positive",
        bound="at least" if low == 0 else "at most",
        predicted="positive" if low == 0 else "negative",
        instead=f'set loss.name = "BCELoss", or {remove}' if uses_bce else remove,
    )


def _bce(facts: Facts, call: LossCall) -> Iterator[Finding]:
    origin = origin_of(facts, call)
    unbounded = {
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "tanh",
        "relu",
        "relu6",
        "softplus",
        "log_sigmoid",
        "log_softmax",
    }
    values = call.input.detach().float()
    is_multilabel = facts.setup.data.spec.task == "multilabel"
    if is_multilabel and call.is_known and values.ndim == 2 and is_distribution(values, 1, SUM_TOLERANCE):
        evidence = f"{rows_of(values, 1)} sum to 1 and lie in {spread(values)}"
        yield finding("softmax-on-labels", evidence)
    elif origin in unbounded:
        yield finding(
            "bce-without-probabilities",
            f"the outputs come from {origin}; those of this batch happen to lie in {spread(call.input)}",
        )


def _eval_activation(facts: Facts) -> Iterator[Finding]:
    """Yield a finding for a model that returns logits in training and probabilities in evaluation."""
    origin = facts.trace.origin if facts.trace else None
    names = {call.name for call in facts.calls}
    if origin not in ("softmax", "sigmoid", "log_softmax") or facts.outputs is None:
        return
    if not names & {"cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"}:
        return
    low, high = RANGES[origin]
    if not within(facts.outputs, low, high, 1e-3):
        yield finding(
            "eval-activation",
            f"in evaluation the outputs come from {origin}; in training they lie in {spread(facts.outputs)}",
            remove=remove_text(facts, None, origin),
        )


def _outputs_alike(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if all rows are equal; not for weights of zeros, which are a usual start."""
    outputs, inputs = facts.outputs, facts.inputs
    if outputs is None or outputs.ndim == 0 or len(outputs) < 2 or len(outputs) != len(inputs):
        return
    rows = outputs.flatten(1) if outputs.ndim > 1 else outputs[:, None]
    if facts.rounded and rows.numel() < 32:
        return
    size = rows.abs().max()
    if not bool((rows - rows[0]).abs().max() <= 1e-6 * size) or bool((inputs == inputs[:1]).all()):
        return
    if any(map(_is_weight_of_zeros, *zip(*facts.setup.model.named_parameters(), strict=True))):
        return
    evidence = f"the outputs of all {len(rows)} samples are equal: {rows[0][:4].tolist()}".rstrip()
    yield finding("outputs-alike", _rounded(evidence, rows[0]))


def _is_weight_of_zeros(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is all zeros, and not one of the biases that usually are."""
    is_weight = parameter.ndim != 1 or name.rpartition(".")[2] == "weight"
    return is_weight and not bool(parameter.any())


def _rounded(evidence: str, row: Tensor) -> str:
    shown = ", ".join(f"{value:.3g}" for value in row[:4].tolist()) + (", ..." if len(row) > 4 else "")
    return f"{evidence.partition(':')[0]}: {shown}"


def _first_loss(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if the loss of an untrained model is several times that of equal probabilities."""
    if not facts.is_untrained:
        return
    for call in facts.calls:
        if not call.is_output:
            continue  # An own loss may scale them, as ArcFace does.
        values, target = call.input.detach().float(), call.target.detach()
        if call.name == "cross_entropy":
            classes = facts.setup.data.spec.num_outputs
            loss = nn.functional.cross_entropy(values, target)
        elif call.name == "binary_cross_entropy_with_logits":
            classes = 2
            loss = nn.functional.binary_cross_entropy_with_logits(values, target.float())
        else:
            continue
        usual = math.log(max(classes, 2))
        if loss.item() > 3 * usual + 2:
            evidence = f"the loss of the first batch is {loss.item():.3g}, and ln({classes}) is {usual:.2f}"
            if _has_fixed_scale(facts):
                evidence += f"; the outputs lie in {spread(values)}, also with weights of another size"
                yield finding("scale-of-outputs", evidence)
            else:
                yield finding("first-loss", evidence, expected=f"{usual:.2f}")
            return


def _has_fixed_scale(facts: Facts) -> bool:
    """Whether the size of the outputs does not come from the weights but from a factor in the model."""
    setup, outputs = facts.setup, facts.outputs
    if outputs is None:
        return False
    with preserve([setup.model]), setup.precision.autocast:
        enter_train_mode(setup.model, setup.preset.model, 0)
        return has_fixed_scale(setup.model, facts.inputs, outputs, is_compiled=setup.preset.training.compile)


def _over_batch(facts: Facts, call: LossCall, function: str, values: Tensor) -> Finding:
    name = layer_of(facts, function)
    evidence = f"the outputs of each class sum to 1 over the {len(values)} samples of the batch"
    if function == "log_softmax":
        evidence = f"exp(outputs) of each class sums to 1 over the {len(values)} samples of the batch"
    where = f"{type(facts.setup.model.get_submodule(name)).__name__} ({name})" if name else function
    return finding("softmax-over-the-batch", evidence, softmax=where)


def _class_dim(values: Tensor) -> int:
    return 1 if values.ndim > 1 else 0


CHECKS = {
    "cross_entropy": _cross_entropy,
    "nll_loss": _log_probabilities,
    "kl_div": _log_probabilities,
    "binary_cross_entropy": _bce,
    "binary_cross_entropy_with_logits": _bce_with_logits,
    "soft_margin_loss": _bce_with_logits,
    "multilabel_soft_margin_loss": _bce_with_logits,
    **dict.fromkeys(
        ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss", "-", "elementwise"),
        compare_with_targets,
    ),
}
