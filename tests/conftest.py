"""What all tests share: no run of whoever calls them is in sight."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another default folder for runs than ./runs, which `make run` fills."""
    monkeypatch.setenv("TORCHCONSOLE_RUNS", str(tmp_path / "default-runs"))
