"""The models that ship with torchconsole: an MLP, a recurrent classifier and the convolutional networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
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

CELLS: dict[str, type[nn.LSTM | nn.GRU]] = {"LSTM": nn.LSTM, "GRU": nn.GRU}


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


class SequenceClassifier(nn.Module):
    """LSTM or GRU layers over T steps of F features, followed by a linear layer on the last state.

    Inputs (B, T, F), or images (B, 1, H, W) read as H steps of W features; outputs (B, num_classes).
    `bidirectional` reads from both ends and uses the last state of each direction. Sources: Hochreiter and
    Schmidhuber 1997 (LSTM); Cho et al. 2014 (GRU); Le et al. 2015 (images as sequences).
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        cell: Literal["LSTM", "GRU"] = "LSTM",
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        shape = tuple(input_shape)
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 1):
            raise ValueError(f"it needs sequences (T, F) or grayscale images (1, H, W), not {shape}")
        if cell not in CELLS:
            raise ValueError(f"cell must be LSTM or GRU, not {cell!r}")
        self.rnn = CELLS[cell](
            shape[-1], hidden_size, num_layers, batch_first=True, bidirectional=bidirectional
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size * (1 + bidirectional), num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T, F) or (B, 1, H, W) -> (B, num_classes)."""
        steps = inputs.squeeze(1) if inputs.ndim == 4 else inputs
        _, states = self.rnn(steps)
        hidden = states[0] if isinstance(states, tuple) else states
        last = torch.cat([hidden[-2], hidden[-1]], dim=1) if self.rnn.bidirectional else hidden[-1]
        logits: Tensor = self.head(self.dropout(last))
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
        BilinearCNN,
    )
}
"""The networks of torchconsole, by name."""
