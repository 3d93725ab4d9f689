"""What all tests share: no run of whoever calls them is in sight."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SEEN = os.environ.get("CUDA_VISIBLE_DEVICES")
"""For the tests that need a GPU. All others are of the CPU, whose results are the same to the last bit."""

os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another default folder for runs than ./runs, which `make run` fills."""
    monkeypatch.setenv("TORCHCONSOLE_RUNS", str(tmp_path / "default-runs"))
