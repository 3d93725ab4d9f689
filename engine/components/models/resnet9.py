"""ResNet-9, the small residual network of the fast CIFAR-10 recipes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from torchconsole.engine.components.models.convolutional import conv_bn_relu
from torchconsole.engine.components.models.shapes import image_shape, output_shape


class ResNet9(nn.Module):
    """Eight 3x3 convolutions, two pairs of them with a shortcut, global maximum pooling and one linear layer.

    Inputs (B, C, H, W) of at least 8x8, outputs (B, num_classes) times `scale`; `width` is the number of maps
    of the first layer. Source: David Page 2018, How to Train Your ResNet (cifar10-fast, DAWNBench): 94% on
    CIFAR-10 in 24 epochs.
    """

    def __init__(
        self, input_shape: Sequence[int], num_classes: int, width: int = 64, scale: float = 0.125
    ) -> None:
        super().__init__()
        channels, _, _ = image_shape(input_shape)
        self.scale = scale
        self.features = nn.Sequential(
            *conv_bn_relu(channels, width),
            *_halving(width, 2 * width),
            Residual(2 * width),
            *_halving(2 * width, 4 * width),
            *_halving(4 * width, 8 * width),
            Residual(8 * width),
            GlobalMaxPool(),
        )
        self.head = nn.Linear(8 * width, num_classes, bias=False)
        output_shape(self.features, input_shape)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_classes)."""
        logits: Tensor = self.scale * self.head(self.features(inputs))
        return logits


class GlobalMaxPool(nn.Module):
    """The largest value of each map; nn.AdaptiveMaxPool2d has no deterministic gradient on CUDA."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        return maps.amax(dim=(2, 3))


class Residual(nn.Module):
    """Two 3x3 convolutions whose result is added to their input, (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*conv_bn_relu(channels, channels), *conv_bn_relu(channels, channels))

    def forward(self, inputs: Tensor) -> Tensor:
        """x -> x + f(x)."""
        added: Tensor = inputs + self.layers(inputs)
        return added


def _halving(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [*conv_bn_relu(in_channels, out_channels), nn.MaxPool2d(2)]
