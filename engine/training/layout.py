"""Where channels lie in memory: last, for convolutions, which trains the same and mostly faster.

torch computes with the layout of a convolution's weights, and the layers behind it follow; only what dropout
draws falls on other elements. The kernels of CUDA are made for channels last, and those of the CPU are up to
half as fast again with them; small images in small batches through wide layers take up to a quarter longer.
No clock decides: what a run computes, to the last bit, should not go by how busy the machine was.
"""

from __future__ import annotations

import logging

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from torchconsole.engine.components.optimizers import match_memory_layout
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.training.dry_run import Batch, forward_and_backward, preserve_state
from torchconsole.engine.training.setup import TrainingSetup

log = logging.getLogger(__name__)


def settle_layout(setup: TrainingSetup, batch: Batch) -> None:
    """Settle `training.channels_last` where the preset leaves it open; nothing else of the task is changed.

    Channels stay first for a model that cannot have them last, since its own code views a tensor as if they
    were first: a pass over `batch` shows it.
    """
    if setup.preset.training.channels_last is not None:
        return
    last = _has_convolutions(setup) and _fits(setup, batch)
    if last:
        log.info("channels are last in memory (training.channels_last)")
    training = setup.preset.training.model_copy(update={"channels_last": last})
    setup.preset = setup.preset.model_copy(update={"training": training})


def _has_convolutions(setup: TrainingSetup) -> bool:
    convolutional = (nn.Conv2d, nn.ConvTranspose2d)
    return setup.device.type in ("cpu", "cuda") and any(
        isinstance(module, convolutional) for module in setup.model.modules()
    )


def _fits(setup: TrainingSetup, batch: Batch) -> bool:
    """Put channels last; first again where the model cannot compute so."""
    _put(setup, torch.channels_last)
    try:
        with preserve_state(setup):
            forward_and_backward(setup, batch)
    except ComponentError as error:
        _put(setup, torch.contiguous_format)
        log.info("channels stay first in memory: with them last, %s", error)
        return False
    return True


def _put(setup: TrainingSetup, layout: torch.memory_format) -> None:
    """The model's convolutions, those of its average, and what the optimizer has begun to keep of them."""
    for model in (setup.model, *([setup.ema.module] if setup.ema else [])):
        convert_conv2d_weight_memory_format(model, layout)
    match_memory_layout(setup.optimizer)
