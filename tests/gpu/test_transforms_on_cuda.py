"""Random transforms of large batches on a GPU do not make the host wait for the GPU."""

from __future__ import annotations

import pytest
import torch

from torchconsole.engine.components.data.batched_transforms import BatchedTransform, batched
from torchconsole.engine.components.data.transforms import build_transform
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.data_schema import TransformConfig

CYCLES = 100_000_000
"""GPU clock cycles of a kernel that keeps the GPU busy: about 50 milliseconds."""


@pytest.mark.parametrize(
    "config",
    [
        {"name": "RandomCrop", "size": 64, "padding": 4, "padding_mode": "reflect"},
        {"name": "RandomHorizontalFlip"},
        {"name": "RandomErasing", "value": 0},
        {"name": "RandomErasing", "value": "random"},
    ],
)
def test_the_host_does_not_wait_for_the_gpu(gpu: torch.device, config: dict[str, object]) -> None:
    built = build_transform("transforms", [TransformConfig.model_validate(config)], UserCode())
    assert built is not None
    transform = batched(built)
    assert isinstance(transform, BatchedTransform)
    images = torch.zeros(4096, 3, 64, 64, dtype=torch.uint8, device=gpu)
    for position in range(2):
        transform(images, 0, position)
    torch.cuda.synchronize(gpu)
    torch.cuda._sleep(CYCLES)
    busy = torch.cuda.Event()
    busy.record()
    transform(images, 0, 2)
    assert not busy.query()
