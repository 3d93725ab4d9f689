"""Loss functions: any class of torch.nn."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.loss import _Loss

from torchconsole.engine.components.instantiate import call, classes_of, pick
from torchconsole.engine.config.schema import LossConfig


def build_loss(config: LossConfig) -> nn.Module:
    """The loss of this name with its own arguments. Raises ComponentError."""
    factory = pick("loss", config.name, classes_of(nn, _Loss))
    loss: nn.Module = call("loss", factory, {}, config.arguments)
    return loss
