"""Optimizers: any class of torch.optim or the user's own, with groups of parameters by name.

Where torch has a fused implementation, it is taken: one kernel updates all parameters, in a third of the time
on a CPU. Muon takes matrices only, and says so of a model that has biases, norms or convolutions to train.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn, optim

from torchconsole.engine.components.devices import DEVICE_ERRORS
from torchconsole.engine.components.instantiate import (
    UserCode,
    accepted,
    build,
    call,
    classes_of,
    find,
)
from torchconsole.engine.components.parameters import norm_and_bias_names, select
from torchconsole.engine.config.schema import GroupConfig, OptimizerConfig
from torchconsole.engine.config.user_code import is_own
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.text import first_line

UNSUPPORTED = {
    "LBFGS": "it evaluates the loss several times in a step, and the loop does so once; use Adam or SGD",
    "SparseAdam": "it takes sparse gradients, and the layers of a model here give dense ones; use Adam",
}
"""Classes of torch.optim that cannot work, and why."""

IMPLEMENTATIONS = frozenset({"fused", "foreach", "capturable", "differentiable"})
"""Arguments by which a preset chooses for itself how torch computes a step."""

FUSED_DEVICES = ("cpu", "cuda")

Named = dict[str, nn.Parameter]


def with_implementation(config: OptimizerConfig, model: nn.Module) -> OptimizerConfig:
    """`config` with `fused = true` where torch can do that for all of `model` and the preset is silent.

    The bits of the weights depend on it, so that it belongs on record with the run.
    """
    kinds = {(parameter.dtype, parameter.device): parameter for parameter in model.parameters()}
    if not takes_fused(config) or not all(_can_be_fused(config.name, p) for p in kinds.values()):
        return config
    if any(getattr(module, "sparse", False) for module in model.modules()):
        return config  # an embedding with sparse gradients
    return config.model_copy(update={"fused": True})


def takes_fused(config: OptimizerConfig) -> bool:
    """Whether torch has a fused form of this optimizer, and the preset leaves the choice to the engine."""
    given = config.arguments.keys() | {key for group in config.groups for key in group.arguments}
    factory = getattr(optim, config.name, None)
    if factory is None or given & IMPLEMENTATIONS or not accepted(factory, {"fused": True}):
        return False
    # It is begun with buffers of 0 (see `_begin_momentum`), which a dampening would tell from a first step.
    return "dampening" not in given


def _can_be_fused(name: str, parameter: Tensor) -> bool:
    """Whether this class has a fused form for such parameters: which have one differs from torch to torch."""
    if parameter.device.type not in FUSED_DEVICES:
        return False
    try:
        getattr(optim, name)([_stand_in(parameter.new_zeros(1))], fused=True).step()
    except DEVICE_ERRORS:
        raise
    except RuntimeError:
        return False
    return True


def build_optimizer(
    config: OptimizerConfig, model: nn.Module, own: UserCode, later: bool = False
) -> optim.Optimizer:
    """The optimizer of this name over the parameters that `model` trains.

    The first group holds what no group of the preset means, and the preset's own follow in their order; a
    parameter belongs to the first that matches its name. Without decay on norms and biases, each group is
    followed by a twin that holds its norms and biases with a weight decay of 0. `later` takes parameters in
    that are frozen, for a run that unfreezes them: torch passes over those without a gradient.

    Raises ComponentError for an unknown class or argument, a value that it refuses now or in a step, and a
    group that means no parameter; TrustError for code that the user has not agreed to.
    """
    if config.name in UNSUPPORTED:
        raise ComponentError(f"optimizer.name: {config.name} cannot be used: {UNSUPPORTED[config.name]}")
    factory = find("optimizer", config.name, classes_of(optim, optim.Optimizer), own, optim.Optimizer)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad or later}
    if not trained:
        raise ComponentError("model: it has no parameter to train")
    groups = _groups(config, factory, trained)
    if not config.decay_norm_and_bias:
        groups = _without_decay(groups, factory, model)
    params = [{"params": list(named.values()), **arguments} for named, arguments in groups if named]
    optimizer = build("optimizer", factory, optim.Optimizer, {"params": params}, config.arguments)
    if not is_own(config.name):
        _try_steps(factory, optimizer, config)
    if isinstance(optimizer, optim.SGD) and optimizer.defaults["fused"]:
        _begin_momentum(optimizer)
    return optimizer


def _begin_momentum(optimizer: optim.SGD) -> None:
    """Momentum from 0, which the first gradient makes into what torch begins with.

    torch's fused SGD fails on parameters of which some have had their first gradient and others have not.
    """
    for group in optimizer.param_groups:
        if group["momentum"] and not group["dampening"]:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def lay_out_state(optimizer: optim.Optimizer) -> None:
    """Lay each tensor of the state out in memory as the parameter that it belongs to.

    A fused optimizer goes through both element by element as they lie in memory: of another layout, the state
    of one weight would be taken for that of another, and on CUDA torch refuses it.
    """
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if not isinstance(value, Tensor) or value.shape != parameter.shape:
                continue
            if value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _try_steps(
    factory: Callable[..., optim.Optimizer], optimizer: optim.Optimizer, config: OptimizerConfig
) -> None:
    """Two steps with a stand-in for each group's smallest parameter: torch looks at much only then."""
    groups = [
        {**group, "params": [_stand_in(min(group["params"], key=Tensor.numel))]}
        for group in optimizer.param_groups
    ]
    try:
        trial = factory(groups, **config.arguments)
        trial.step()
        trial.step()
    except DEVICE_ERRORS:
        raise
    except Exception as error:
        raise ComponentError(
            f"optimizer: {config.name} cannot step with these arguments: {first_line(error)}"
        ) from error


def _stand_in(parameter: Tensor) -> nn.Parameter:
    made = nn.Parameter(torch.zeros_like(parameter))
    made.grad = torch.zeros_like(parameter)
    return made


def _groups(
    config: OptimizerConfig, factory: Callable[..., optim.Optimizer], trained: Named
) -> list[tuple[Named, dict[str, Any]]]:
    """The parameters without a group, then each group's with its own arguments."""
    rest = dict(trained)
    groups = []
    for number, group in enumerate(config.groups):
        section = f"optimizer.groups.{number}"
        meant = select(f"{section}.match", group.match, trained, "trained parameter")
        names = [name for name in meant if name in rest]
        if not names:
            raise ComponentError(f"{section}.match: the groups before it have taken all that it matches")
        _check_group(section, factory, config, group, rest[names[0]])
        groups.append(({name: rest.pop(name) for name in names}, group.arguments))
    return [(rest, {}), *groups]


def _check_group(
    section: str,
    factory: Callable[..., optim.Optimizer],
    config: OptimizerConfig,
    group: GroupConfig,
    parameter: Tensor,
) -> None:
    """torch passes over a group's unknown arguments and checks no values: an optimizer of its own does."""
    call(section, factory, {"params": [parameter]}, config.arguments | group.arguments)


def _without_decay(
    groups: Sequence[tuple[Named, dict[str, Any]]],
    factory: Callable[..., optim.Optimizer],
    model: nn.Module,
) -> list[tuple[Named, dict[str, Any]]]:
    if not accepted(factory, {"weight_decay": 0.0}):
        raise ComponentError("optimizer.decay_norm_and_bias: this optimizer has no weight decay to leave out")
    spared = norm_and_bias_names(model)
    split = []
    for named, arguments in groups:
        split.append(({name: p for name, p in named.items() if name not in spared}, arguments))
        twin = {name: p for name, p in named.items() if name in spared}
        split.append((twin, {**arguments, "weight_decay": 0.0}))
    return split
