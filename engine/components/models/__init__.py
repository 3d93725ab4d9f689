"""Networks: a small zoo of our own, every classifier of torchvision, and the user's own."""

from torchconsole.engine.components.models.building import ZOO, build_model

__all__ = ["ZOO", "build_model"]
