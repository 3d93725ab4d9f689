"""Every private name of torch that torchconsole uses exists in the installed version (torch >= 2.8)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset, _utils

from torchconsole.engine.components import torch_compat
from torchconsole.engine.components.torch_compat import (
    OLDEST_TORCH,
    Replica,
    call_after_backward,
    checks_found_inf,
    is_profiling,
    layer_versions,
    set_loader_shutdown_seconds,
    shut_down_workers,
    unhooked_step,
)

HELD = 0.5
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


def test_a_running_profiler_is_known() -> None:
    assert not is_profiling()
    with torch.profiler.profile():
        assert is_profiling()
    assert not is_profiling()


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


def holding_by_hook(optimizer: optim.Optimizer, hold: Callable[..., None]) -> None:
    optimizer.register_step_post_hook(hold)


def holding_by_method(optimizer: optim.Optimizer, hold: Callable[..., None]) -> None:
    step = optimizer.step

    def stepping(*arguments: Any) -> None:
        step(*arguments)
        hold()

    optimizer.step = stepping  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("way", [holding_by_hook, holding_by_method])
def test_hooks_and_replaced_steps_of_an_optimizer_are_kept(
    way: Callable[[optim.Optimizer, Callable[..., None]], None],
) -> None:
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    optimizer = optim.SGD([weight], lr=0.1)
    way(optimizer, lambda *arguments: weight.data.fill_(HELD))
    unhooked_step(optimizer)()
    assert weight.tolist() == [HELD] * 3


@pytest.mark.parametrize("name", ["SGD", "AdamW", "RMSprop", "Adafactor"])
def test_the_unhooked_step_computes_what_the_step_does(name: str) -> None:
    weights = [nn.Parameter(torch.ones(3, 2)) for _ in range(2)]
    steps = [
        choose(getattr(optim, name)([weight], lr=0.1))
        for weight, choose in zip(weights, (unhooked_step, lambda optimizer: optimizer.step), strict=True)
    ]
    for number in range(3):
        for weight, step in zip(weights, steps, strict=True):
            weight.grad = torch.full((3, 2), number - 0.5)
            step()
    assert torch.equal(*weights)
    assert weights[0][0, 0] != 1


def test_the_names_of_the_optimizers_step_exist() -> None:
    """Without them `unhooked_step` and `checks_found_inf` would silently do less."""
    optimizer = optim.AdamW([nn.Parameter(torch.ones(3))], fused=True)
    assert unhooked_step(optimizer) != optimizer.step
    assert checks_found_inf(optimizer)
    assert not checks_found_inf(optim.Adadelta([nn.Parameter(torch.ones(3))]))


def test_private_names_are_used_in_one_module_only() -> None:
    engine = Path(torch_compat.__file__).parents[1]
    private = re.compile(
        r"_shutdown_workers|MP_STATUS_CHECK|_SIGCHLD_handler|_error_if_any|_MultiProcessing|"
        r"\b_Loss\b|[.\"]_metadata\b|\b_optimizer_step_p|_step_supports_amp"
    )
    users = [
        str(path.relative_to(engine))
        for path in engine.rglob("*.py")
        if private.search(path.read_text(encoding="utf-8"))
    ]
    assert users == ["components/torch_compat.py"]


def test_a_function_is_called_once_all_gradients_are_computed() -> None:
    model, seen = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), []
    for _ in range(2):
        loss = model(torch.ones(1, 2)).sum()
        call_after_backward(loss, lambda: seen.append([p.grad is not None for p in model.parameters()]))
        loss.backward()
        model(torch.ones(1, 2)).sum().backward()
    assert seen == [[True] * 4] * 2


def test_a_replica_tells_when_the_buffers_of_the_first_process_have_arrived() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        seen: list[str] = []
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        model.register_forward_pre_hook(lambda module, inputs: seen.append("forward"))
        replica = Replica(model, lambda: seen.append("buffers"), finds_unused=False)
        replica(torch.ones(2, 2)).sum().backward()
        assert seen == ["buffers", "forward"]
    finally:
        dist.destroy_process_group()
