"""The tests in this folder need a CUDA device; without one they are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.conftest import VISIBLE_DEVICES

# tests/conftest.py hides all GPUs from the other tests.
if VISIBLE_DEVICES is None:
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
else:
    os.environ["CUDA_VISIBLE_DEVICES"] = VISIBLE_DEVICES
# cuBLAS reads this variable once, before its first matrix product.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests in this folder if torch finds no device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.skip(reason="torch finds no CUDA device"))


@pytest.fixture
def gpu() -> torch.device:
    """The current CUDA device."""
    return torch.device("cuda", torch.cuda.current_device())
