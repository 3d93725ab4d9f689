"""The model zoo: small networks of our own, sized by the data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from torchconsole.engine.components.instantiate import call, pick
from torchconsole.engine.config.schema import ModelConfig


class MLP(nn.Module):
    """Fully connected layers with ReLU and dropout; inputs (B, ...) are flattened, outputs (B, classes)."""

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        hidden: Sequence[int] = (128,),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(input_shape)
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, ...) -> (B, classes)."""
        logits: Tensor = self.layers(inputs)
        return logits


class SmallCNN(nn.Module):
    """Blocks of 3x3 convolution, batch normalisation, ReLU and 2x2 pooling, then one linear layer.

    Inputs (B, C, H, W), outputs (B, classes). The block is VGG's with batch normalisation
    (Simonyan and Zisserman 2015; Ioffe and Szegedy 2015).
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (32, 64),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(input_shape) != 3:
            raise ValueError(f"it needs images (C, H, W), the data has {tuple(input_shape)}")
        blocks: list[nn.Module] = []
        width, height, depth = input_shape[2], input_shape[1], input_shape[0]
        for size in channels:
            blocks += [_block(depth, size)]
            depth, height, width = size, height // 2, width // 2
        if height * width == 0:
            raise ValueError(f"{len(channels)} poolings are too many for images of {tuple(input_shape[1:])}")
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(depth * height * width, num_classes)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, classes)."""
        logits: Tensor = self.head(self.blocks(inputs))
        return logits


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


ZOO: dict[str, type[nn.Module]] = {"MLP": MLP, "SmallCNN": SmallCNN}


def build_model(config: ModelConfig, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """The model for inputs of this shape and so many classes. Raises ComponentError."""
    factory = pick("model", config.name, ZOO)
    given = {"input_shape": tuple(input_shape), "num_classes": num_classes}
    model: nn.Module = call("model", factory, given, config.arguments)
    return model
