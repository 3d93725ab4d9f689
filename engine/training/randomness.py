"""Random numbers: seeds, and the states of the generators for an exact resume."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import torch

from torchconsole.engine.components.torch_compat import is_cuda_used


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def require_determinism(required: bool) -> None:
    """Make torch use only algorithms that give the same bits every time, or again whatever is fastest.

    torch raises RuntimeError in an operation that has no such algorithm (see its notes on reproducibility).
    """
    if required:
        # cuBLAS reads it when its first handle is created.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(required)


def random_state() -> dict[str, Any]:
    """Return the state of every generator that training uses, as tensors and plain numbers."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        # A process that has not used its GPUs yet must not begin to by being saved.
        "cuda": torch.cuda.get_rng_state_all() if is_cuda_used() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` returned; the GPUs' states only if there are as many GPUs."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
