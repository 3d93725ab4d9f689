"""Errors of torch that have a cause people can do something about: told as that, not as a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from torchconsole.engine.components.data.loader_worker import explain_loader_error
from torchconsole.engine.errors import DeviceLostError, TrainingError
from torchconsole.engine.text import first_line
from torchconsole.engine.training.memory import is_out_of_memory


@contextmanager
def named_failures() -> Iterator[None]:
    """Turn errors of torch into ones that say what to do.

    Raises TrainingError for a loader process that died or hangs and for a model that trains with tensors of
    an evaluation, DeviceLostError for a broken device. Memory that is used up is left to `within_memory`.
    """
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        if is_device_lost(error):
            raise DeviceLostError(
                f"{first_line(error)}: the device is lost to this process; the last checkpoint "
                "stands. CUDA_LAUNCH_BLOCKING=1 shows where a device-side assertion comes from"
            ) from error
        if "Inference tensors" in str(error):
            raise TrainingError(
                "the model keeps a tensor that it made in an evaluation, where no gradients are recorded, "
                "and trains with it: make it in __init__ with register_buffer, or keep none that was made "
                "while not self.training"
            ) from error
        if (fault := explain_loader_error(error)) is None:
            raise
        raise TrainingError(f"{fault}; the last checkpoint stands") from error


def is_device_lost(error: RuntimeError) -> bool:
    """Whether every further call to the device fails as well, so that no state can be read from it any more.

    That is asked of the device itself: cuDNN, cuBLAS and Triton have words of their own for it, and not every
    error of CUDA is fatal. The host waits for the device here, which has failed already.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return isinstance(error, torch.AcceleratorError)
    try:
        torch.cuda.synchronize()
    except torch.AcceleratorError:
        return True
    return False
