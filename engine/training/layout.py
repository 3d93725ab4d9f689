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

from torchconsole.engine.components.optimizers import lay_out_state
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.training.rehearsal import Batch, forward_and_backward, untouched
from torchconsole.engine.training.task import Task

log = logging.getLogger(__name__)


def settle_layout(task: Task, batch: Batch) -> None:
    """Settle `training.channels_last` where the preset leaves it open; nothing else of the task is changed.

    Channels stay first for a model that cannot have them last, since its own code views a tensor as if they
    were first: a pass over `batch` shows it.
    """
    if task.preset.training.channels_last is not None:
        return
    last = _has_convolutions(task) and _fits(task, batch)
    if last:
        log.info("channels are last in memory (training.channels_last)")
    training = task.preset.training.model_copy(update={"channels_last": last})
    task.preset = task.preset.model_copy(update={"training": training})


def _has_convolutions(task: Task) -> bool:
    convolutional = (nn.Conv2d, nn.ConvTranspose2d)
    return task.device.type in ("cpu", "cuda") and any(
        isinstance(module, convolutional) for module in task.model.modules()
    )


def _fits(task: Task, batch: Batch) -> bool:
    """Put channels last; first again where the model cannot compute so."""
    _put(task, torch.channels_last)
    try:
        with untouched(task):
            forward_and_backward(task, batch)
    except ComponentError as error:
        _put(task, torch.contiguous_format)
        log.info("channels stay first in memory: with them last, %s", error)
        return False
    return True


def _put(task: Task, layout: torch.memory_format) -> None:
    """The model's convolutions, those of its average, and what the optimizer has begun to keep of them."""
    for model in (task.model, *([task.ema.module] if task.ema else [])):
        convert_conv2d_weight_memory_format(model, layout)
    lay_out_state(task.optimizer)
