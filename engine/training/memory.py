"""Out of memory: told from other errors, and said in words that help."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.text import first_line

Result = TypeVar("Result")

CPU_ALLOCATOR = "DefaultCPUAllocator: "
"""How torch's RuntimeError for the host's memory is told from its others."""

CUDA = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""How CUDA itself and its libraries say it, where torch's allocator was not asked: as at their own start."""


def within_memory(work: Callable[[], Result], data: DataConfig) -> Result:
    """The result of `work`. Raises TrainingError, which says what to change, where memory is too small.

    Nothing is tried again: which batch size is trained with is for people to decide.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        cause = _cause(error)
    # Outside the `except`, where the error no longer keeps the step's tensors alive.
    raise TrainingError(
        f"out of memory: {cause}; lower data.batch_size (it is {data.batch_size}), or data.eval_batch_size "
        "if an evaluation ran, or take a smaller model"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device's memory, or the host's, is used up."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in (CPU_ALLOCATOR, *CUDA))


def _cause(error: BaseException) -> str:
    """The sentence that says how much was asked for; torch adds its source line, or advice."""
    text = first_line(error)
    return text.partition(CPU_ALLOCATOR)[2] or ". ".join(text.split(". ")[:3])
