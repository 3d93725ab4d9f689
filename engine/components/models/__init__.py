"""Networks: a small zoo of our own, every classifier of torchvision, and the user's own."""

from torchconsole.engine.components.models.building import build_model
from torchconsole.engine.components.models.zoo import ZOO

__all__ = ["ZOO", "build_model"]
