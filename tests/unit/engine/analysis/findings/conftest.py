"""The models of these tests are drawn from the same random numbers, in whatever order the tests run."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(0)
