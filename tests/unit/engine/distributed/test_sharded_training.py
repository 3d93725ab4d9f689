"""A sharded model is trained like a whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard

from tests.support.sharded_training import assert_is_whole, job_of_one, losses
from tests.support.specs import trusted_file
from torchconsole.engine.distributed.sharding import Sharding
from torchconsole.engine.errors import ComponentError


@pytest.mark.parametrize(
    "overrides",
    [
        ("training.precision=fp32", "training.clip_norm=1.0"),
        ("training.precision=fp32", "training.clip_norm=0.1", "training.clip_norm_type=inf"),
        ("training.precision=bf16", "training.grad_accum_steps=2", "training.nonfinite=skip"),
        ("training.precision=fp32", "optimizer={name='SGD', lr=0.05, momentum=0.9}"),
    ],
)
def test_losses_equal_those_of_the_whole_model(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    cpu = torch.device("cpu")
    found = losses(cpu, tmp_path / "fsdp", "distributed.strategy=fsdp", *overrides)
    assert len(found) == 12
    assert found == pytest.approx(losses(cpu, tmp_path / "ddp", *overrides), rel=1e-2)
    assert_is_whole(tmp_path / "fsdp")


def test_an_optimizer_that_keeps_lists_of_sharded_tensors_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trusted_file(
        tmp_path,
        monkeypatch,
        """
import torch

class History(torch.optim.SGD):
    def step(self, closure=None):
        super().step()
        for group in self.param_groups:
            for weight in group["params"]:
                self.state[weight]["history"] = [weight.grad.clone()]
""",
    )
    optimizer = f"optimizer={{name='{path}:History', lr=0.01}}"
    with pytest.raises(ComponentError, match=r"history: sharded tensors in a list.* to \"ddp\""):
        losses(torch.device("cpu"), tmp_path / "fsdp", "distributed.strategy=fsdp", optimizer)


def test_buffers_travel_in_one_message_for_each_format(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(*[nn.BatchNorm1d(3) for _ in range(4)])
    model.register_buffer("codes", torch.tensor([7, -1], dtype=torch.int16))
    model.register_buffer("graph", torch.eye(3).to_sparse())
    with job_of_one(torch.device("cpu")):
        sharding = Sharding(fully_shard(model))
        sent: list[torch.Tensor] = []
        monkeypatch.setattr(dist, "broadcast", lambda tensor, source: sent.append(tensor))
        monkeypatch.setattr(dist, "get_rank", lambda: 1)
        for is_last in (False, True):
            sharding.synchronize(is_last)
    assert sorted(map(len, sent)) == [2 * 2, 4 * 8, 4 * 2 * 3 * 4]
    assert torch.equal(model.codes, torch.tensor([7, -1], dtype=torch.int16))


def test_all_have_the_leaders_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.BatchNorm2d(3)
    model.register_buffer("table", torch.zeros(2, 3).T)
    with job_of_one(torch.device("cpu")):
        sharding = Sharding(fully_shard(model))
        monkeypatch.setattr(dist, "broadcast", lambda tensor, source: tensor.fill_(0))
        monkeypatch.setattr(dist, "get_rank", lambda: 1)
        sharding.synchronize(is_last=True)
    assert not any(buffer.any() for buffer in model.buffers())
