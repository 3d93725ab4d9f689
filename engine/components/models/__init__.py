"""Models: the networks of torchconsole, the classifiers of torchvision, and user code."""

from torchconsole.engine.components.models.building import build_model
from torchconsole.engine.components.models.zoo import ZOO

__all__ = ["ZOO", "build_model"]
