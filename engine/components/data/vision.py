"""Torchvision's modules, imported when first needed: the import costs a second."""

from __future__ import annotations

import importlib
from types import ModuleType

from torchconsole.engine.components.torchvision_ops import prepare_torchvision


def vision(module: str) -> ModuleType:
    """`torchvision.<module>`. Raises ComponentError where torchvision is not installed."""
    prepare_torchvision()
    return importlib.import_module(f"torchvision.{module}")
