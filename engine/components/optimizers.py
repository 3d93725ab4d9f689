"""Optimizers: any class of torch.optim."""

from __future__ import annotations

from torch import nn, optim

from torchconsole.engine.components.instantiate import call, classes_of, pick
from torchconsole.engine.config.schema import OptimizerConfig


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> optim.Optimizer:
    """The optimizer of this name over all of the model's parameters. Raises ComponentError."""
    factory = pick("optimizer", config.name, classes_of(optim, optim.Optimizer))
    optimizer: optim.Optimizer = call("optimizer", factory, {"params": model.parameters()}, config.arguments)
    return optimizer
