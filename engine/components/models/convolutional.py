"""Plain convolutional networks, from LeNet to stacks of 3x3 convolutions with batch normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from torchconsole.engine.components.models.shapes import image_shape, output_shape


class ConvNet(nn.Module):
    """Convolutional `features`, then a `head` on all of them; (B, C, H, W) -> (B, num_classes)."""

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_classes)."""
        logits: Tensor = self.head(self.features(inputs))
        return logits


class LeNet(ConvNet):
    """LeNet-5: two 5x5 convolutions, each averaged over 2x2, and three fully connected layers, all with tanh.

    Source: LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition, section II.B. As is
    usual today, 28x28 digits are padded in the first convolution instead of beforehand, the second one sees
    every map of the first, and softmax replaces the radial basis functions.
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
    """Three 5x5 convolutions of 32, 32 and 64 maps, each pooled over 3x3 by 2, and two linear layers.

    Source: the CIFAR-10 net of Krizhevsky's cuda-convnet (2011), as Caffe's cifar10_quick: the first pooling
    takes the maximum and is followed by ReLU, the others take the mean and follow it.
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
    """Blocks of two 3x3 convolutions with batch normalisation, pooled over 2x2, with dropout that grows.

    One block for each of `channels`; `dropout` is that of the first block, each further one drops 0.1 more,
    and half of the 128 units before the last layer are dropped. Sources: two small convolutions for a large
    one by Simonyan and Zisserman 2015; batch normalisation by Ioffe and Szegedy 2015; dropout by Srivastava
    et al. 2014, who let it grow with depth on CIFAR-10.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (32, 64, 128),
        dropout: float = 0.2,
    ) -> None:
        depth, _, _ = image_shape(input_shape)
        blocks: list[nn.Module] = []
        for number, size in enumerate(channels):
            rate = dropout + 0.1 * number if dropout else 0.0
            blocks += [*conv_bn_relu(depth, size), *conv_bn_relu(size, size)]
            blocks += [nn.MaxPool2d(2), nn.Dropout(rate)]
            depth = size
        features = nn.Sequential(*blocks)
        width = math.prod(output_shape(features, input_shape))
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
    """Blocks of one 3x3 convolution, batch normalisation, ReLU and 2x2 pooling, then one linear layer.

    The block is that of Simonyan and Zisserman 2015 with batch normalisation (Ioffe and Szegedy 2015).
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


def conv_bn_relu(in_channels: int, out_channels: int) -> list[nn.Module]:
    """A 3x3 convolution that keeps the size, batch normalisation and ReLU."""
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]
