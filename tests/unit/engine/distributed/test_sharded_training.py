"""A sharded model is trained like a whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.sharded_training import assert_is_whole, losses


@pytest.mark.parametrize(
    "overrides",
    [
        ("training.precision=fp32", "training.clip_norm=1.0"),
        ("training.precision=bf16", "training.grad_accum_steps=2", "training.nonfinite=skip"),
    ],
)
def test_losses_equal_those_of_the_whole_model(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    cpu = torch.device("cpu")
    found = losses(cpu, tmp_path / "fsdp", "distributed.strategy=fsdp", *overrides)
    assert len(found) == 12
    assert found == pytest.approx(losses(cpu, tmp_path / "ddp", *overrides), rel=1e-2)
    assert_is_whole(tmp_path / "fsdp")
