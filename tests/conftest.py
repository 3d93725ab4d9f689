"""What all tests share: the user's own runs are out of sight, and the order can be shuffled."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

VISIBLE_DEVICES = os.environ.get("CUDA_VISIBLE_DEVICES")
"""For the tests that need a GPU. All others run on the CPU, whose results are the same to the last bit."""

os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --shuffle."""
    parser.addoption(
        "--shuffle", type=int, metavar="SEED", help="run the tests in a random order, the same for a seed"
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the seed of the order."""
    seed = config.getoption("--shuffle")
    return None if seed is None else f"shuffled: repeat with --shuffle {seed}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle the files, and the tests in each file, so that fixtures of a module are set up only once."""
    seed = config.getoption("--shuffle")
    if seed is None:
        return
    generator = random.Random(seed)
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    groups = list(files.values())
    generator.shuffle(groups)
    for group in groups:
        generator.shuffle(group)
    items[:] = [item for group in groups for item in group]


@pytest.fixture(autouse=True)
def own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A default folder for runs other than ./runs, which `make run` fills."""
    monkeypatch.setenv("TORCHCONSOLE_RUNS", str(tmp_path / "default-runs"))
