"""The models that ship with torchconsole: an MLP, the convolutional and the recurrent networks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError
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
from torchconsole.engine.config.validation_errors import format_value
from torchconsole.engine.errors import ComponentError


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


def check_types(name: str, arguments: Mapping[str, Any]) -> None:
    """Check a preset's arguments for a network of torchconsole.

    Raises ComponentError, with an example, for the first one that has another type than its annotation says,
    or is a size below 1. Unknown ones, and names, are left to the network.
    """
    constructor = ZOO[name].__init__
    hints, parameters = get_type_hints(constructor), inspect.signature(constructor).parameters
    for key, value in arguments.items():
        default = parameters[key].default if key in parameters else None
        whole = Annotated[int, Field(ge=0 if default == 0 else 1)]
        known: dict[Any, tuple[Any, str]] = {
            int: (whole, f"a whole number from {0 if default == 0 else 1}"),
            float: (float, "a number"),
            bool: (bool, "true or false"),
            Sequence[int]: (Sequence[whole], "a list of whole numbers from 1"),
        }
        hint, wanted = known.get(hints.get(key), (Any, ""))
        try:
            TypeAdapter(hint).validate_python(value, strict=True)
        except ValidationError as error:
            example = list(default) if isinstance(default, tuple) else default
            such = "" if default is inspect.Parameter.empty else f", such as {format_value(example)}"
            raise ComponentError(f"model.{key}: must be {wanted}{such}, got {format_value(value)}") from error


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
