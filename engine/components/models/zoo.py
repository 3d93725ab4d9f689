"""The models that ship with torchconsole: an MLP, the convolutional and the recurrent networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from torchconsole.engine.components.models.convnets import (
    BilinearCNN,
    LeNet,
    ResNet9,
    SimpleCNN,
    SimpleCNNv3,
    SimpleCNNv3Wide,
    SmallCNN,
)
from torchconsole.engine.components.models.recurrent import SequenceClassifier, TextClassifier


class MLP(nn.Module):
    """Fully connected layers with ReLU and dropout.

    Inputs (B, ...) float32 are flattened, outputs (B, num_classes). Sources: Rumelhart et al. 1986; ReLU by
    Glorot et al. 2011; dropout by Srivastava et al. 2014.
    """

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
        """(B, ...) -> (B, num_classes)."""
        logits: Tensor = self.layers(inputs)
        return logits


ZOO: dict[str, type[nn.Module]] = {
    model.__name__: model
    for model in (
        MLP,
        LeNet,
        SmallCNN,
        SimpleCNN,
        SimpleCNNv3,
        SimpleCNNv3Wide,
        ResNet9,
        SequenceClassifier,
        TextClassifier,
        BilinearCNN,
    )
}
"""The networks of torchconsole, by name."""
