"""Findings on gradients and on what the optimizer trains."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torchconsole.engine.analysis.findings.facts import Facts
from torchconsole.engine.analysis.findings.further_batches import without_gradient
from torchconsole.engine.analysis.findings.modules import some
from torchconsole.engine.analysis.findings.rules import finding
from torchconsole.engine.components.parameters import norm_and_bias_names
from torchconsole.engine.protocol.reports import Finding


def find_in_gradients(facts: Facts) -> Iterator[Finding]:
    """Yield the findings on the gradients of the dry run, and on the optimizer's parameter groups."""
    if facts.dry_run.targets_require_grad:
        evidence = f"the targets {tuple(facts.targets.shape)} of the first batch require gradients"
        yield finding("targets-require-grad", evidence)
    yield from _without_gradient(facts)
    yield from _optimizer(facts)


def _without_gradient(facts: Facts) -> Iterator[Finding]:
    gradients = facts.dry_run.gradients
    missing = [name for name, norm in gradients.items() if norm is None]
    if not missing:
        return
    tried = without_gradient(facts.setup, facts.dry_run.batch, missing)
    missing = tried.names
    if not missing:
        return
    parameters = dict(facts.setup.model.named_parameters())
    sizes = {name: parameters[name].numel() for name in gradients if name in parameters}
    share = sum(sizes.get(name, 0) for name in missing) / max(1, sum(sizes.values()))
    layers = list(dict.fromkeys(_layer(name, set(gradients), set(missing)) for name in missing))
    count = f"{len(missing)} of {len(gradients)} parameters ({share:.0%} of the trainable weights)"
    if tried.varies:
        evidence = f"{count} got no gradient in any of {tried.tries} training steps: {some(layers)}"
        yield finding("parameters-seldom-used", evidence)
        return
    evidence = f"{count} got no gradient in {tried.tries} training steps: {some(layers)}"
    yield finding("parameters-without-gradient", evidence, patterns=_quoted(layers))


def _quoted(patterns: list[str]) -> str:
    return ", ".join(f'"{pattern}"' for pattern in patterns)


def _layer(name: str, every: set[str], missing: set[str]) -> str:
    """Return the outermost module with this parameter of which no parameter has a gradient."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        prefix = ".".join(parts[:length])
        inside = {other for other in every if other.startswith(f"{prefix}.")}
        if inside <= missing:
            return f"{prefix}.*"
    return name


def _optimizer(facts: Facts) -> Iterator[Finding]:
    setup = facts.setup
    held = {id(parameter) for group in setup.optimizer.param_groups for parameter in group["params"]}
    named = dict(setup.model.named_parameters())
    frozen = [name for name, each in named.items() if not each.requires_grad and id(each) in held]
    if frozen and setup.preset.model.unfreeze_at_epoch is None:
        evidence = f"{len(frozen)} frozen parameters are in the optimizer: {some(frozen)}"
        yield finding("frozen-in-optimizer", evidence)
    left_out = [name for name, each in named.items() if each.requires_grad and id(each) not in held]
    in_loss = [_in_loss(name) for name, each in setup.loss_fn.named_parameters() if each.requires_grad]
    if left_out:
        evidence = f"{len(left_out)} trainable parameters are not in the optimizer: {some(left_out)}"
        remedy = f"have {setup.preset.optimizer.name} train all parameters that it gets, or freeze these: "
        layers = dict.fromkeys(_layer(name, set(named), set(left_out)) for name in left_out)
        remedy += f"model.freeze = [{_quoted(list(layers))}]"
        yield finding("missing-in-optimizer", evidence, remedy=remedy)
    elif in_loss:
        who = "1 trainable parameter of the loss is"
        if len(in_loss) > 1:
            who = f"{len(in_loss)} trainable parameters of the loss are"
        evidence = f"{who} not in the optimizer: {some(in_loss)}"
        remedy = "move them into the model, or set requires_grad=False if they are constants"
        yield finding("missing-in-optimizer", evidence, remedy=remedy)
    yield from _decay(facts)


def _in_loss(name: str) -> str:
    """Return the name of a parameter as the loss that the preset names has it."""
    return re.sub(r"^losses\.\d+\.(loss\.)?", "", name)


def _decay(facts: Facts) -> Iterator[Finding]:
    names = norm_and_bias_names(facts.setup.model)
    excluded = {id(each) for name, each in facts.setup.model.named_parameters() if name in names}
    decayed = [
        group["weight_decay"]
        for group in facts.setup.optimizer.param_groups
        if isinstance(group.get("weight_decay"), float | int) and group["weight_decay"] > 0
        for parameter in group["params"]
        if id(parameter) in excluded and parameter.requires_grad
    ]
    if decayed and facts.setup.preset.optimizer.decay_norm_and_bias:
        noun = "parameter" if len(decayed) == 1 else "parameters"
        evidence = f"weight_decay = {decayed[0]:g} applies to {len(decayed)} bias or norm {noun}"
        yield finding("decay-on-norm-and-bias", evidence)
