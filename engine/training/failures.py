"""Errors of torch that have a cause people can do something about: told as that, not as a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from torchconsole.engine.components.data.worker_process import loader_fault
from torchconsole.engine.errors import DeviceLostError, TrainingError


@contextmanager
def named_failures() -> Iterator[None]:
    """Turn errors of torch into ones that say what to do.

    Raises TrainingError for a loader process that died or hangs and for a model that trains with tensors of
    an evaluation, DeviceLostError for a broken device.
    """
    try:
        yield
    except torch.AcceleratorError as error:
        # Every further call to the device fails as well: no state can be read from it any more.
        raise DeviceLostError(
            f"{str(error).splitlines()[0]}: the device is lost to this process; the last checkpoint stands. "
            "CUDA_LAUNCH_BLOCKING=1 shows where a device-side assertion comes from"
        ) from error
    except RuntimeError as error:
        if "Inference tensors" in str(error):
            raise TrainingError(
                "the model keeps a tensor that it made in an evaluation, where no gradients are recorded, "
                "and trains with it: make it in __init__ with register_buffer, or keep none that was made "
                "while not self.training"
            ) from error
        if (fault := loader_fault(error)) is None:
            raise
        raise TrainingError(f"{fault}; the last checkpoint stands") from error
