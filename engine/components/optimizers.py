"""Optimizers: any class of torch.optim or from user code, with parameter groups selected by name.

If torch has a fused implementation, it is used: a single kernel updates all parameters, in a third of the
time on a CPU. Muon only accepts matrices: it rejects models with trainable biases, norms or convolutions.
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
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.system_limits import is_memory_error
from torchconsole.engine.text import first_line

UNSUPPORTED = {
    "LBFGS": "it evaluates the loss several times per step, but the loop does so once; use Adam or SGD",
    "SparseAdam": "it needs sparse gradients, but most layers have dense ones; use Adam",
}
"""Classes of torch.optim that a preset cannot use, and why."""

IMPLEMENTATIONS = frozenset({"fused", "foreach", "capturable", "differentiable"})
"""Arguments that choose how torch computes a step; if a preset sets one of them, nothing is chosen for it."""

FUSED_DEVICES = ("cpu", "cuda")

NamedParameters = dict[str, nn.Parameter]
"""Parameters by name."""


def takes_fused(config: OptimizerConfig, model: nn.Module) -> bool:
    """Whether torch has a fused form of this optimizer for all of `model`, and the preset leaves that open.

    The bits of the weights depend on it, so the choice is recorded with the run.
    """
    given = config.arguments.keys() | {key for group in config.groups for key in group.arguments}
    factory = getattr(optim, config.name, None)
    if factory is None or given & IMPLEMENTATIONS or not accepted(factory, {"fused": True}):
        return False
    if "dampening" in given:
        # Starting from momentum buffers of 0 (see `_zero_momentum`) would change its first step.
        return False
    kinds = {(parameter.dtype, parameter.device): parameter for parameter in model.parameters()}
    has_sparse_gradients = any(getattr(module, "sparse", False) for module in model.modules())
    return not has_sparse_gradients and all(_has_fused_step(config.name, p) for p in kinds.values())


def _has_fused_step(name: str, parameter: Tensor) -> bool:
    """Whether a fused step works for parameters of this dtype and device; this depends on torch's version."""
    if parameter.device.type not in FUSED_DEVICES:
        return False
    try:
        getattr(optim, name)([_zeros_with_gradient(parameter.new_zeros(1))], fused=True).step()
    except DEVICE_ERRORS:
        raise
    except RuntimeError:
        return False
    return True


def build_optimizer(
    config: OptimizerConfig, model: nn.Module, user_code: UserCode, with_frozen: bool = False
) -> optim.Optimizer:
    """Build the optimizer over the trained parameters of `model`.

    The first parameter group has the parameters that match no group of the preset; the preset's groups follow
    in order, and a parameter belongs to the first one that matches its name. With `decay_norm_and_bias =
    false`, each group is followed by one with its norm and bias parameters and a weight decay of 0.
    `with_frozen` includes frozen parameters, for a run that unfreezes them later: torch skips parameters
    without a gradient.

    Raises:
        ComponentError: for an unknown class or argument, a value that is rejected by the constructor or in a
            step, and a group without parameters.
        TrustError: for user code that is not trusted.
    """
    if config.name in UNSUPPORTED:
        raise ComponentError(f"optimizer.name: {config.name} cannot be used: {UNSUPPORTED[config.name]}")
    factory = find("optimizer", config.name, classes_of(optim, optim.Optimizer), user_code, optim.Optimizer)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad or with_frozen}
    if not trained:
        raise ComponentError("model: it has no trainable parameters; choose another model")
    groups = _groups(config, factory, trained)
    if not config.decay_norm_and_bias:
        groups = _without_decay(config, groups, factory, model)
    params = [{"params": list(members.values()), **arguments} for members, arguments in groups if members]
    optimizer = build("optimizer", factory, optim.Optimizer, {"params": params}, config.arguments)
    if not is_user_code(config.name):
        _try_steps(factory, optimizer, config)
    if isinstance(optimizer, optim.SGD) and optimizer.defaults["fused"]:
        _zero_momentum(optimizer)
    return optimizer


def _zero_momentum(optimizer: optim.SGD) -> None:
    """Start from momentum buffers of 0; after the first gradient they equal those that torch would create.

    torch's fused SGD fails if only some of the parameters have a momentum buffer.
    """
    for group in optimizer.param_groups:
        if group["momentum"] and not group["dampening"]:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def match_memory_layout(optimizer: optim.Optimizer) -> None:
    """Give each tensor in the optimizer's state the memory layout (strides) of its parameter.

    A fused optimizer reads both in memory order. With different layouts it would mix up the state of the
    weights, and on CUDA torch raises an error.
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
    """Take two steps on a copy of each group's smallest parameter: torch checks many arguments only then."""
    groups = [
        {**group, "params": [_zeros_with_gradient(min(group["params"], key=Tensor.numel))]}
        for group in optimizer.param_groups
    ]
    try:
        trial = factory(groups, **config.arguments)
        trial.step()
        trial.step()
    except DEVICE_ERRORS:
        raise
    except Exception as error:
        if is_memory_error(error):
            raise
        raise ComponentError(
            f"optimizer: {config.name} cannot step with these arguments: {first_line(error)}"
        ) from error


def _zeros_with_gradient(parameter: Tensor) -> nn.Parameter:
    zeros = nn.Parameter(torch.zeros_like(parameter))
    zeros.grad = torch.zeros_like(parameter)
    return zeros


def _groups(
    config: OptimizerConfig, factory: Callable[..., optim.Optimizer], trained: NamedParameters
) -> list[tuple[NamedParameters, dict[str, Any]]]:
    """Return the parameters without a group, then those of each group with the group's arguments."""
    rest = dict(trained)
    groups = []
    for number, group in enumerate(config.groups):
        section = f"optimizer.groups.{number}"
        matching = select(f"{section}.match", group.match, trained, "trained parameter")
        names = [name for name in matching if name in rest]
        if not names:
            raise ComponentError(
                f"{section}.match: all parameters that it matches belong to earlier groups; "
                "remove this group or move it up"
            )
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
    """Check a group's arguments by building an optimizer with them: torch does not check those of groups."""
    call(section, factory, {"params": [parameter]}, config.arguments | group.arguments)


def _without_decay(
    config: OptimizerConfig,
    groups: Sequence[tuple[NamedParameters, dict[str, Any]]],
    factory: Callable[..., optim.Optimizer],
    model: nn.Module,
) -> list[tuple[NamedParameters, dict[str, Any]]]:
    if not accepted(factory, {"weight_decay": 0.0}):
        raise ComponentError(
            f"optimizer.decay_norm_and_bias: {config.name} has no weight_decay; remove this key"
        )
    excluded = norm_and_bias_names(model)
    split = []
    for members, arguments in groups:
        split.append(({name: p for name, p in members.items() if name not in excluded}, arguments))
        undecayed = {name: p for name, p in members.items() if name in excluded}
        split.append((undecayed, {**arguments, "weight_decay": 0.0}))
    return split
