"""Convolutional networks, from LeNet to stacks of 3x3 convolutions with batch normalization."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchconsole.engine.components.models.layers import Residual

EPSILON = 1e-5
"""Keeps the gradient of the square root finite at 0."""


class ConvNet(nn.Module):
    """Convolutional `features` followed by a `head`; (B, C, H, W) -> (B, num_classes)."""

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_classes)."""
        logits: Tensor = self.head(self.features(inputs))
        return logits


class LeNet(ConvNet):
    """LeNet-5: two 5x5 convolutions with 2x2 average pooling and three linear layers, all with tanh.

    Source: LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition, section II.B. As is
    usual today, the first convolution pads the 28x28 digits, the second one uses all maps of the first, and
    softmax replaces the radial basis functions.
    """

    def __init__(self, input_shape: Sequence[int], num_classes: int) -> None:
        channels, _, _ = image_shape(input_shape)
        features = nn.Sequential(
            nn.Conv2d(channels, 6, kernel_size=5, padding=2),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5),
            nn.Tanh(),
            nn.AvgPool2d(2),
        )
        width = math.prod(output_shape(features, input_shape))
        head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width, 120),
            nn.Tanh(),
            nn.Linear(120, 84),
            nn.Tanh(),
            nn.Linear(84, num_classes),
        )
        super().__init__(features, head)


class SimpleCNN(ConvNet):
    """Three 5x5 convolutions with 32, 32 and 64 maps and 3x3 pooling of stride 2, and two linear layers.

    Source: the CIFAR-10 network of Krizhevsky's cuda-convnet (2011), in the form of Caffe's cifar10_quick:
    the first block is max pooling and then ReLU, the others are ReLU and then average pooling.
    """

    def __init__(self, input_shape: Sequence[int], num_classes: int) -> None:
        channels, _, _ = image_shape(input_shape)
        features = nn.Sequential(
            nn.Conv2d(channels, 32, kernel_size=5, padding=2),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            nn.ReLU(),
            nn.Conv2d(32, 32, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.AvgPool2d(3, stride=2, ceil_mode=True),
            nn.Conv2d(32, 64, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.AvgPool2d(3, stride=2, ceil_mode=True),
        )
        width = math.prod(output_shape(features, input_shape))
        head = nn.Sequential(nn.Flatten(), nn.Linear(width, 64), nn.Linear(64, num_classes))
        super().__init__(features, head)


class SimpleCNNv3(ConvNet):
    """Blocks of two 3x3 convolutions with batch normalization, 2x2 pooling and dropout that grows with depth.

    There is one block for each of `channels`. `dropout` is the rate of the first block and grows by 0.1 per
    block; the rate before the last layer is 0.5. On CIFAR-10 it has 419,690 parameters. Sources: two small
    convolutions instead of a large one by Simonyan and Zisserman 2015; batch normalization by Ioffe and
    Szegedy 2015; dropout that grows with depth on CIFAR-10 by Srivastava et al. 2014.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (32, 64, 128),
        dropout: float = 0.2,
    ) -> None:
        features, width = _double_convolutions(input_shape, channels, dropout, bias=True)
        head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width, 64),
            nn.ReLU(),
            nn.Dropout(0.5 if dropout else 0.0),
            nn.Linear(64, num_classes),
        )
        super().__init__(features, head)


class SimpleCNNv3Wide(ConvNet):
    """SimpleCNNv3 with a linear layer of 128 units and batch normalization in the head.

    Layers before a batch normalization have no bias. On CIFAR-10 it has 551,146 parameters.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (32, 64, 128),
        dropout: float = 0.2,
    ) -> None:
        features, width = _double_convolutions(input_shape, channels, dropout, bias=False)
        head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width, 128, bias=False),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Dropout(0.5 if dropout else 0.0),
            nn.Linear(128, num_classes),
        )
        super().__init__(features, head)


class SmallCNN(ConvNet):
    """Blocks of a 3x3 convolution, batch normalization, ReLU and 2x2 pooling, followed by a linear layer.

    Sources: the convolutions by Simonyan and Zisserman 2015; batch normalization by Ioffe and Szegedy 2015.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (32, 64),
        dropout: float = 0.0,
    ) -> None:
        depth, _, _ = image_shape(input_shape)
        blocks: list[nn.Module] = []
        for size in channels:
            blocks += [*conv_bn_relu(depth, size), nn.MaxPool2d(2)]
            depth = size
        features = nn.Sequential(*blocks)
        width = math.prod(output_shape(features, input_shape))
        head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, num_classes))
        super().__init__(features, head)


class ResNet9(nn.Module):
    """Eight 3x3 convolutions, four of them in two residual blocks, global max pooling and a linear layer.

    Inputs (B, C, H, W) of at least 8x8; outputs (B, num_classes), multiplied by `scale`; `width` is the
    number of maps of the first layer. Source: David Page 2018, How to Train Your ResNet (cifar10-fast,
    DAWNBench): 94% on CIFAR-10 in 24 epochs.
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
            _residual(2 * width),
            *_halving(2 * width, 4 * width),
            *_halving(4 * width, 8 * width),
            _residual(8 * width),
            GlobalMaxPool(),
        )
        self.head = nn.Linear(8 * width, num_classes, bias=False)
        output_shape(self.features, input_shape)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_classes)."""
        logits: Tensor = self.scale * self.head(self.features(inputs))
        return logits


class GlobalMaxPool(nn.Module):
    """The maximum of each map. nn.AdaptiveMaxPool2d has no deterministic backward pass on CUDA."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        return maps.amax(dim=(2, 3))


class BilinearPooling(nn.Module):
    """Feature maps (B, D, H, W) -> (B, D * D): the products of all pairs of maps, averaged over positions.

    A signed square root and L2 normalization follow. Source: Lin, RoyChowdhury and Maji 2015, Bilinear CNN
    Models for Fine-grained Visual Recognition, section 3.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(B, D, H, W) -> (B, D * D) with L2 norm 1."""
        flat = maps.flatten(2)
        products = (flat @ flat.transpose(1, 2) / flat.shape[2]).flatten(1)
        rooted = products.sign() * (products.abs() + EPSILON).sqrt()
        return F.normalize(rooted, dim=1)


class BilinearCNN(ConvNet):
    """Blocks of two 3x3 convolutions with batch normalization, then bilinear pooling and a linear layer.

    Inputs (B, C, H, W), outputs (B, num_classes). There is one block for each of `channels`, with 2x2 pooling
    between blocks. Both factors of the products come from the same features (the symmetric model of Lin et
    al. 2015).
    """

    def __init__(
        self, input_shape: Sequence[int], num_classes: int, channels: Sequence[int] = (32, 64, 96)
    ) -> None:
        depth, _, _ = image_shape(input_shape)
        blocks: list[nn.Module] = []
        for size in channels:
            blocks += [nn.MaxPool2d(2)] if blocks else []
            blocks += [*conv_bn_relu(depth, size), *conv_bn_relu(size, size)]
            depth = size
        features = nn.Sequential(*blocks)
        output_shape(features, input_shape)
        super().__init__(features, nn.Sequential(BilinearPooling(), nn.Linear(depth * depth, num_classes)))


def image_shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """Return `input_shape` as (C, H, W). Raises ValueError if it is not that of images."""
    if len(input_shape) != 3:
        raise ValueError(f"it needs images (C, H, W), but the data has shape {tuple(input_shape)}")
    channels, height, width = input_shape
    return channels, height, width


def output_shape(layers: nn.Module, input_shape: Sequence[int]) -> tuple[int, ...]:
    """Return the output shape of `layers` for one input, without the batch, computed on the meta device.

    Raises ValueError if the input is too small, for example for the number of pooling layers.
    """
    try:
        outputs = copy.deepcopy(layers).to("meta").eval()(torch.empty(1, *input_shape, device="meta"))
    except RuntimeError as error:
        size = "x".join(str(length) for length in input_shape[1:])
        last = len(input_shape) == 3 and input_shape[-1] in (1, 3, 4) and input_shape[0] not in (1, 3, 4)
        advice = f" (shape {tuple(input_shape)}: are the channels last? Put them first)" if last else ""
        raise ValueError(f"images of {size} are too small{advice}: {error}") from error
    return tuple(outputs.shape[1:])


def conv_bn_relu(in_channels: int, out_channels: int, *, bias: bool = False) -> list[nn.Module]:
    """Return a 3x3 convolution that keeps the image size, batch normalization and ReLU."""
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]


def _residual(channels: int) -> Residual:
    """Return a residual block of two 3x3 convolutions."""
    return Residual(nn.Sequential(*conv_bn_relu(channels, channels), *conv_bn_relu(channels, channels)))


def _halving(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [*conv_bn_relu(in_channels, out_channels), nn.MaxPool2d(2)]


def _double_convolutions(
    input_shape: Sequence[int], channels: Sequence[int], dropout: float, *, bias: bool
) -> tuple[nn.Sequential, int]:
    """Return the blocks of SimpleCNNv3 and how many numbers they give for one image."""
    depth, _, _ = image_shape(input_shape)
    blocks: list[nn.Module] = []
    for number, size in enumerate(channels):
        rate = dropout + 0.1 * number if dropout else 0.0
        blocks += [*conv_bn_relu(depth, size, bias=bias), *conv_bn_relu(size, size, bias=bias)]
        blocks += [nn.MaxPool2d(2), nn.Dropout(rate)]
        depth = size
    features = nn.Sequential(*blocks)
    return features, math.prod(output_shape(features, input_shape))
