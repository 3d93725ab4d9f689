"""Every private name of torch that torchconsole uses exists in the installed version (torch >= 2.8)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, _utils

from torchconsole.engine.components import torch_compat
from torchconsole.engine.components.torch_compat import (
    OLDEST_TORCH,
    layer_versions,
    set_loader_shutdown_seconds,
    shut_down_workers,
)

PYPROJECT = Path(__file__).parents[4] / "pyproject.toml"


def test_the_oldest_version_is_the_one_that_pyproject_requires() -> None:
    requirements = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    assert f"torch>={'.'.join(map(str, OLDEST_TORCH))}" in requirements
    installed = tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
    assert installed >= OLDEST_TORCH


def test_the_seconds_until_a_worker_is_terminated_can_be_set() -> None:
    before = _utils.MP_STATUS_CHECK_INTERVAL
    try:
        set_loader_shutdown_seconds(0.25)
        assert _utils.MP_STATUS_CHECK_INTERVAL == 0.25
    finally:
        set_loader_shutdown_seconds(before)


def test_persistent_workers_can_be_shut_down() -> None:
    loader = DataLoader(
        TensorDataset(torch.arange(4)),
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context="fork",
        timeout=60,
    )
    shut_down_workers(loader)  # nothing has started yet
    assert len(list(loader)) == 4
    [worker] = loader._iterator._workers  # type: ignore[union-attr]
    assert worker.is_alive()
    shut_down_workers(loader)
    worker.join(timeout=60)
    assert not worker.is_alive()


def test_a_state_dict_has_the_versions_of_its_layers() -> None:
    state_dict = nn.Sequential(nn.BatchNorm1d(2)).state_dict()
    assert layer_versions(state_dict)["0"] == {"version": 2}
    assert layer_versions(dict(state_dict)) == {}


def test_private_names_are_used_in_one_module_only() -> None:
    engine = Path(torch_compat.__file__).parents[1]
    private = re.compile(r"_shutdown_workers|MP_STATUS_CHECK_INTERVAL|\b_Loss\b|[.\"]_metadata\b")
    users = [
        str(path.relative_to(engine))
        for path in engine.rglob("*.py")
        if private.search(path.read_text(encoding="utf-8"))
    ]
    assert users == ["components/torch_compat.py"]
