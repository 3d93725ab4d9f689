"""Bilinear pooling: a classifier on the products of feature maps rather than on the maps themselves."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from torchconsole.engine.components.models.convolutional import ConvNet, conv_bn_relu
from torchconsole.engine.components.models.shapes import image_shape, output_shape

EPSILON = 1e-5
"""Keeps the square root's slope finite at 0."""


class BilinearPooling(nn.Module):
    """Feature maps (B, D, H, W) -> (B, D * D): all products of two maps, averaged over the places.

    Then the signed square root and the l2 norm. Source: Lin, RoyChowdhury and Maji 2015, Bilinear CNN Models
    for Fine-grained Visual Recognition, section 3.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(B, D, H, W) -> (B, D * D) of length 1."""
        flat = maps.flatten(2)
        products = (flat @ flat.transpose(1, 2) / flat.shape[2]).flatten(1)
        rooted = products.sign() * (products.abs() + EPSILON).sqrt()
        return F.normalize(rooted, dim=1)


class BilinearCNN(ConvNet):
    """Blocks of two 3x3 convolutions with batch normalisation, then bilinear pooling and a linear layer.

    Inputs (B, C, H, W), outputs (B, num_classes); one block for each of `channels`, pooled over 2x2 between
    them. The same trunk makes both factors of the products (the symmetric model of Lin et al. 2015).
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
