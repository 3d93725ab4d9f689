"""Fits a network to other classes and channels: another last layer, another first convolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def find_head(model: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d] | None:
    """The last linear layer or convolution in the order of definition, and its name: a classifier's head.

    None for a model that has neither.
    """
    found = [
        (name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    return found[-1] if found else None


def find_stem(model: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """The first convolution in the order of definition, and its name; None for a model without one."""
    return next(
        ((name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)), None
    )


def replace_head(model: nn.Module, outputs: int) -> set[str]:
    """Give `model` a new head for `outputs` classes unless it has that many; the names of its parameters.

    It is drawn as torch draws such a layer, on the device of the old one.
    """
    found = find_head(model)
    if found is None or found[1].weight.shape[0] == outputs:
        return set()
    name, head = found
    if isinstance(head, nn.Linear):
        like: dict[str, Any] = {"device": head.weight.device, "dtype": head.weight.dtype}
        new: nn.Module = nn.Linear(head.in_features, outputs, head.bias is not None, **like)
    else:
        new = _convolution_like(head, head.in_channels, outputs)
    model.set_submodule(name, new)
    return {f"{name}.{inner}" for inner, _ in new.named_parameters()}


def replace_stem(model: nn.Module, channels: int, keep_weights: bool) -> None:
    """Give `model` a first convolution for `channels` input channels unless it has that many.

    `keep_weights` makes it from the old one: each channel gets the mean filter times old / new channels, so
    that an image whose channels are all alike gives the same maps as before (timm's rule for one channel).
    Otherwise it is drawn as torch draws a convolution.
    """
    stem = find_stem(model)
    if stem is None or stem[1].in_channels == channels or stem[1].groups != 1:
        return
    name, old = stem
    new = _convolution_like(old, channels, old.out_channels)
    if keep_weights:
        mean = old.weight.detach().mean(dim=1, keepdim=True)
        with torch.no_grad():
            new.weight.copy_((mean * old.in_channels / channels).expand_as(new.weight))
            if old.bias is not None and new.bias is not None:
                new.bias.copy_(old.bias)
    model.set_submodule(name, new)


def _convolution_like(old: nn.Conv2d, in_channels: int, out_channels: int) -> nn.Conv2d:
    same = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    settings: dict[str, Any] = {name: getattr(old, name) for name in same}
    settings |= {"bias": old.bias is not None, "device": old.weight.device, "dtype": old.weight.dtype}
    return nn.Conv2d(in_channels, out_channels, **settings)
