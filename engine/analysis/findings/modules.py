"""Findings on the model's modules: what stays active in evaluation, and what is not registered."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from torchconsole.engine.analysis.findings.batch_dependence import ROUNDED_TOLERANCE, TOLERANCE
from torchconsole.engine.analysis.findings.facts import Facts
from torchconsole.engine.analysis.findings.forward_trace import leaves_of
from torchconsole.engine.analysis.findings.hidden_tensors import Place, hidden_tensors
from torchconsole.engine.analysis.findings.observe import tensors_in
from torchconsole.engine.analysis.findings.rules import finding
from torchconsole.engine.protocol.reports import Finding

REPEATABLE = 1e-3
"""Relative to the outputs, two passes with the same kernels differ by less, in half precision too."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def find_in_modules(facts: Facts) -> Iterator[Finding]:
    """Yield the findings on what model and loss are made of."""
    yield from _evaluation(facts)
    if facts.trace is not None and facts.trace.norm_follows_dropout:
        evidence = "the input of a batch norm is the output of a dropout"
        yield finding("batch-norm-after-dropout", f"{evidence}{_names(facts.setup.model, BATCH_NORMS)}")
    yield from _unregistered(facts)


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def _evaluation(facts: Facts) -> Iterator[Finding]:
    changed = [
        name for name in facts.dry_run.buffers_changed_in_eval if name.rpartition(".")[2] in STATISTICS
    ]
    if changed:
        evidence = f"evaluating has changed {some(changed)}"
        yield finding("statistics-change-in-evaluation", evidence)
    difference = _difference(facts.dry_run.eval_outputs, facts.dry_run.eval_outputs_again)
    trace = facts.trace
    if difference > REPEATABLE and not changed:
        evidence = f"two evaluations of the same batch differ by {difference:.0%} of the largest output"
        if trace is not None and trace.active_dropouts:
            evidence += f"; dropout is active {_times(trace.active_dropouts)}"
        yield finding("active-in-evaluation", evidence, remedy=_dropout_remedy(facts))
    elif trace is not None and trace.norms_by_batch and not changed:
        count = _times(trace.norms_by_batch)
        evidence = f"batch norm uses the mean and variance of the batch {count} in evaluation"
        remedy = "use track_running_stats=True (the default), or pass training=self.training to F.batch_norm"
        yield finding("active-in-evaluation", evidence, remedy=remedy)
    elif not changed and difference <= REPEATABLE:
        yield from _depends_on_batch(facts)


def _depends_on_batch(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if the outputs of samples change when others are left out of their batch."""
    change = facts.change_without_others
    if change is not None and change > (ROUNDED_TOLERANCE if facts.rounded else TOLERANCE):
        count = len(facts.dry_run.eval_batch[0])
        evidence = (
            f"without the other {count - count // 2:,} samples of a batch, the outputs of {count // 2:,} "
            f"change by {change:.0%} of the largest output in evaluation"
        )
        yield finding("outputs-depend-on-batch", evidence)


def _dropout_remedy(facts: Facts) -> str:
    functional, model = "pass training=self.training to F.dropout", facts.setup.model
    if facts.trace is not None and not facts.trace.active_dropouts:
        return (
            "draw random numbers in forward only where self.training is true; to "
            "F.scaled_dot_product_attention pass dropout_p=p if self.training else 0.0"
        )
    if any(isinstance(module, DROPOUTS) for module in model.modules()):
        return f"{functional}; do not call .train() in forward or override train() so that layers stay active"
    return f"{functional}, or create nn.Dropout in __init__ and not in forward"


def _difference(one: object, other: object) -> float:
    """Return the largest difference of two outputs, relative to their largest value."""
    largest = 0.0
    for a, b in zip(tensors_in(one), tensors_in(other), strict=False):
        if a.shape != b.shape or not a.is_floating_point():
            continue
        size = torch.maximum(a.abs().max(), b.abs().max()).item() if a.numel() else 0.0
        if size:
            largest = max(largest, (a.float() - b.float()).abs().max().item() / size)
    return largest


def _unregistered(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if the outputs depend on leaf tensors that are no parameters of the model."""
    model = facts.setup.model
    leaves = facts.trace.leaves if facts.trace else []
    known = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    unknown = {id(leaf): leaf for leaf in leaves if id(leaf) not in known}
    if not unknown:
        return
    places = {id(place.tensor): place for place in hidden_tensors(model)}
    # A forward pass may make tensors that require grad and that are not meant to be trained: a first state.
    strangers = [leaf for key, leaf in unknown.items() if isinstance(leaf, nn.Parameter) or key in places]
    if not strangers:
        return
    found_places = sorted(
        (places[id(leaf)] for leaf in strangers if id(leaf) in places), key=lambda p: p.path
    ) or _computed_from(strangers, list(places.values()))
    count = sum(leaf.numel() for leaf in strangers)
    where = f": {some([place.path for place in found_places])}" if found_places else ""
    who = f"{len(strangers)} tensors with {count:,} values get gradients, but are"
    if len(strangers) == 1:
        who = f"1 tensor with {count:,} values gets gradients, but is"
    evidence = f"{who} not registered{where}"
    line = (
        found_places[0].remedy
        if found_places
        else "create the layers in __init__ of the model, as attributes"
    )
    yield finding("unregistered-parameters", evidence, line=line)


def _computed_from(leaves: list[Tensor], places: list[Place]) -> list[Place]:
    """Return where tensors are that have been computed from one of `leaves`, such as a moved parameter."""
    wanted = {id(leaf) for leaf in leaves}
    return [
        place
        for place in places
        if place.tensor.grad_fn is not None and wanted & {id(leaf) for leaf in leaves_of(place.tensor)}
    ]


def _names(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> str:
    names = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    return f" ({some(names)})" if names and len(names) < 3 else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def some(names: list[str], most: int = 4) -> str:
    """List the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
