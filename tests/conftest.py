"""Shared by all tests: a temporary runs folder, no GPU, and --shuffle for a random order."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A test that fails because the machine is busy says nothing about the program.
settings.register_profile(
    "any machine", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

VISIBLE_DEVICES = os.environ.get("CUDA_VISIBLE_DEVICES")
"""For the tests that need a GPU. All others run on the CPU, where results are bit-identical."""

os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --shuffle."""
    parser.addoption(
        "--shuffle", type=int, metavar="SEED", help="run the tests in the random order of this seed"
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Report the seed of the random order."""
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
def temporary_runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a temporary default runs folder: `make run` puts the user's runs into ./runs."""
    monkeypatch.setenv("TORCHCONSOLE_RUNS", str(tmp_path / "default-runs"))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for all tests, since writing the catalogue of torch's classes is slow, and other folders."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield folder
