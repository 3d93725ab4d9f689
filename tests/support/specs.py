"""Small data specs, models and user code for the tests of components."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.user_code import trust

USER_CODE = UserCode()


def spec(task: TaskType = "multiclass", outputs: int = 3, shape: tuple[int, ...] = (4,)) -> DataSpec:
    """Return a data spec with classes named a, b, c, ..."""
    count = {"binary": 2, "regression": 0}.get(task, outputs)
    return DataSpec(task, shape, outputs, [chr(ord("a") + index) for index in range(count)])


def batch(of: DataSpec, size: int = 6) -> tuple[Tensor, Tensor]:
    """Return random outputs that require gradients, and targets in the form that the data has."""
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(size, of.num_outputs, generator=generator, requires_grad=True)
    noise = torch.randn(size, of.num_outputs, generator=generator)
    if of.task == "multiclass":
        return outputs, noise.argmax(dim=1)
    return outputs, noise if of.task == "regression" else (noise > 0).float()


def trusted_file(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> str:
    """Write `code` to a trusted user file and return its path."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    path = folder / f"mine{abs(hash(code))}.py"
    path.write_text(code, encoding="utf-8")
    trust(path)
    return str(path)


def net(**layers: Any) -> Any:
    """Return a sequence of named layers."""
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model
