"""Errors of torch that the user can do something about, turned into messages that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from torchconsole.engine.components.data.loader_worker import explain_loader_error, has_lost_its_sender
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import DeviceLostError, TrainingError
from torchconsole.engine.system_limits import explain_limit, is_memory_error, memory_limits
from torchconsole.engine.text import first_line

Result = TypeVar("Result")

CPU_ALLOCATOR = "DefaultCPUAllocator: "
"""Marks torch's RuntimeError about the host's memory."""

CUDA_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""Messages of CUDA and its libraries where torch's allocator was not involved, as when they start."""


@contextmanager
def named_failures() -> Iterator[None]:
    """Turn errors of torch into ones that say what to do.

    Raises TrainingError for a data loader worker that exited or hangs and for a model that trains with
    tensors of an evaluation, DeviceLostError for a broken device. Out of memory is left to `within_memory`.
    """
    try:
        with _named_loss_of_sender():
            yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        if reason := explain_limit(error):
            raise TrainingError(reason) from error
        if is_device_lost(error):
            raise DeviceLostError(
                f"{first_line(error)}: this process can no longer use the device; resume from the last "
                "checkpoint. CUDA_LAUNCH_BLOCKING=1 shows where a device-side assertion comes from"
            ) from error
        if "Inference tensors" in str(error):
            raise TrainingError(
                "the model trains with a tensor that it created during an evaluation, without gradients: "
                "create it in __init__ with register_buffer, or only where self.training is true"
            ) from error
        if (explanation := explain_loader_error(error)) is None:
            raise
        raise TrainingError(f"{explanation}; the last checkpoint is intact") from error


@contextmanager
def _named_loss_of_sender() -> Iterator[None]:
    """Raise TrainingError if a data loader worker ended while it sent a batch.

    Meanwhile torch may raise its own error about that worker, wherever this thread is, here too.
    """
    try:
        yield
    except (EOFError, OSError) as error:
        if is_out_of_memory(error):
            raise
        if reason := explain_limit(error):
            raise TrainingError(reason) from error
        if not has_lost_its_sender(error):
            raise
        raise TrainingError(
            "data: a data loader worker ended while it sent a batch; see worker.log; the last checkpoint is "
            "intact"
        ) from error


def is_device_lost(error: RuntimeError) -> bool:
    """Whether every further call to the device fails too, so that no state can be read from it any more.

    The device itself is asked: cuDNN, cuBLAS and Triton each have their own message for it, and not every
    CUDA error is fatal. The host waits for the device here, after a failure.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return isinstance(error, torch.AcceleratorError)
    try:
        torch.cuda.synchronize()
    except torch.AcceleratorError:
        return True
    return False


def within_memory(work: Callable[[], Result], data: DataConfig | None = None) -> Result:
    """Return the result of `work`. Raises TrainingError, which says what to change, if memory runs out.

    Nothing is retried: the batch size is the user's decision. `data` is the preset's section if it is known.
    """
    try:
        return work()
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        cause, is_of_device = _allocation(error), _is_of_device(error)
    # Outside of `except`, where the error no longer keeps the tensors of the step alive.
    now = f" (now {data.batch_size})" if data else ""
    advice = [
        f"lower data.batch_size{now}, or data.eval_batch_size if this was an evaluation",
        *([] if is_of_device else _host_advice(data)),
        "use a smaller model",
    ]
    limits = "" if is_of_device else memory_limits()
    raise TrainingError(f"out of memory: {cause}{limits}; {', or '.join(advice)}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the device or of the host is used up."""
    return _is_of_device(error) or is_memory_error(error)


def _is_of_device(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in CUDA_MEMORY)


def _host_advice(data: DataConfig | None) -> list[str]:
    """Return the settings of the data that take memory of the host."""
    if data is None:
        return ["lower data.num_workers", "set data.in_memory = false"]
    workers = [] if data.num_workers == 0 else [f"lower data.num_workers (now {data.num_workers})"]
    return workers if data.in_memory is False else [*workers, "set data.in_memory = false"]


def _allocation(error: BaseException) -> str:
    """Return the part of the message that says how much was requested, without torch's advice."""
    text = first_line(error)
    return text.partition(CPU_ALLOCATOR)[2] or ". ".join(text.split(". ")[:3])
