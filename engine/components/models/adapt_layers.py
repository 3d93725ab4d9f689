"""Adapts a network to other classes and channels by replacing its last layer and first convolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def find_head(model: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d] | None:
    """Find a classifier's head, with its name: the last linear layer or convolution in definition order.

    Returns None for a model that has neither.
    """
    found = [
        (name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    return found[-1] if found else None


def find_stem(model: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """Find the first convolution, with its name, in definition order; None if there is none."""
    return next(
        ((name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)), None
    )


def replace_head(model: nn.Module, outputs: int) -> set[str]:
    """Replace the head unless it has `outputs` classes already, and return the names of the new parameters.

    The new head has torch's default initialization and the device and dtype of the old one.
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
    """Replace the first convolution unless it has `channels` input channels already.

    With `keep_weights`, each channel gets the mean of the old filters times (old channels / new channels), so
    that an image with equal channels produces the same maps as before (timm's rule for a single channel).
    Otherwise the new convolution has torch's default initialization.
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
