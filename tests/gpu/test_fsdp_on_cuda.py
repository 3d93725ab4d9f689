"""A process on a GPU trains a sharded model: FSDP2 over nccl, with a world of one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.sharded_training import assert_is_whole, losses

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(
    "overrides",
    [
        ("training.precision=fp32",),
        ("training.precision=bf16", "training.clip_norm=1.0", "training.grad_accum_steps=2"),
        ("training.precision=fp16", "training.clip_norm=1.0"),
    ],
)
@pytest.mark.parametrize("more", [(), ("distributed.cpu_offload=true",)])
def test_losses_equal_those_of_the_whole_model(
    gpu: torch.device, tmp_path: Path, overrides: tuple[str, ...], more: tuple[str, ...]
) -> None:
    if more and "training.precision=fp16" in overrides:
        pytest.skip("is refused")
    found = losses(gpu, tmp_path / "fsdp", "distributed.strategy=fsdp", *overrides, *more)
    assert found == pytest.approx(losses(gpu, tmp_path / "ddp", *overrides), rel=1e-2)
    assert_is_whole(tmp_path / "fsdp")
