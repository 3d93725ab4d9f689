"""Which parts of a model are gathered together, and what cannot be sharded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.together import require_trainable_together
from torchconsole.engine.distributed.sharding import blocks
from torchconsole.engine.errors import ComponentError, PresetError

FSDP = "distributed.strategy=fsdp"


def names(model: nn.Module) -> list[str]:
    found = set(blocks(model))
    return [name for name, module in model.named_modules() if module in found]


class Transformer(nn.Module):
    """Layers of one size, between an embedding and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(16, 50)


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))
    model[2].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Transformer, ["encoder.layers.0", "encoder.layers.1", "encoder.layers.2"]),
        (lambda: nn.Sequential(Transformer(), nn.Linear(50, 2)), [f"0.encoder.layers.{n}" for n in range(3)]),
        (lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)), ["0"]),
        (lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.Linear(4, 4)), ["0.0", "1"]),
        (lambda: nn.Linear(4, 4), []),
        (lambda: nn.Sequential(nn.ReLU()), []),
        (tied, ["1"]),
    ],
)
def test_blocks(make: Callable[[], nn.Module], expected: list[str]) -> None:
    assert names(make()) == expected


@pytest.mark.parametrize(
    ("changes", "device", "message"),
    [
        (["distributed.cpu_offload=true"], "cpu", "distributed.cpu_offload: .* runs on the CPU"),
        (["training.channels_last=true"], "cpu", "training.channels_last: .* contiguous weights only"),
        (["distributed.cpu_offload=true", "training.precision=fp16"], "cuda", "training.precision: "),
        (["distributed.cpu_offload=true", "training.nonfinite=skip"], "cuda", "training.nonfinite: "),
        (['model.device_map={""="cpu"}'], "cpu", r'remove device_map, or set distributed\.strategy = "ddp"'),
        (["distributed.sync_batchnorm=true"], "cpu", "distributed.sync_batchnorm: .* for GPUs only"),
    ],
)
def test_what_cannot_be_sharded_is_refused(changes: list[str], device: str, message: str) -> None:
    preset = load_preset("digits-cnn", [FSDP, *changes])
    with pytest.raises(ComponentError, match=message):
        require_trainable_together(preset, on_cpu=device == "cpu")


def test_what_can_be_sharded_is_not_refused() -> None:
    require_trainable_together(load_preset("digits-cnn", [FSDP]), on_cpu=True)
    offloaded = load_preset("digits-cnn", [FSDP, "distributed.cpu_offload=true"])
    require_trainable_together(offloaded, on_cpu=False)


def test_offloading_a_whole_model_is_refused() -> None:
    with pytest.raises(PresetError, match=r"distributed.cpu_offload: has no effect"):
        load_preset("digits-cnn", ["distributed.cpu_offload=true"])
