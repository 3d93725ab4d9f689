"""What a check finds for a small preset whose model, loss or batches are replaced."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from tests.support.sessions import ignore_phase, parts_for
from torchconsole.engine.analysis.findings import find_in_data
from torchconsole.engine.analysis.start_check import CheckedSetup, check_parts
from torchconsole.engine.components.data.types import TrainBatches
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.training.parts import TrainingParts

Findings = dict[str, Finding]
"""By name."""

CLASSES, BINARY, AMOUNTS, IMAGES = "iris-mlp", "breast-cancer-binary", "diabetes-regression", "digits-cnn"
"""Presets with data of 4 features and 3 classes, 30 and 2, 10 and a number, and 8x8 pixels and 10 classes."""


def checked(preset: str, *overrides: str, **replaced: Any) -> CheckedSetup:
    """Check a preset whose `model`, `loss_fn` or `data` are replaced."""
    return check_parts(replace(_parts(preset, overrides), **replaced), ignore_phase)


def found(preset: str, *overrides: str, **replaced: Any) -> Findings:
    """What `find` returns, without the hint on weight decay, which nearly every preset gets."""
    return by_name(checked(preset, *overrides, **replaced).findings)


def found_in_data(preset: str, *overrides: str) -> Findings:
    """What `find_in_data` returns."""
    return by_name(find_in_data(checked(preset, *overrides).setup))


def by_name(findings: list[Finding]) -> Findings:
    return {each.name: each for each in findings if each.name != "decay-on-norm-and-bias"}


@functools.cache
def _parts(preset: str, overrides: tuple[str, ...]) -> TrainingParts:
    return parts_for(load_preset(preset, ["training.threads=1", "training.device=cpu", *overrides]))


def data_of(preset: str, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], **replaced: Any) -> Any:
    """Return the data of a preset whose training batches are changed."""
    data = _parts(preset, ()).data
    return replace(data, train=_Changed(data.train, change), **replaced)


class _Changed:
    """Training batches, each passed through `change`."""

    def __init__(
        self, batches: TrainBatches, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    ) -> None:
        self._batches, self._change = batches, change
        self.batches_per_epoch, self.samples_per_epoch = batches.batches_per_epoch, batches.samples_per_epoch

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        return (self._change(*batch) for batch in self._batches.epoch(epoch, start))


class Functional(nn.Module):
    """A layer, and a function of its outputs and of the module itself."""

    def __init__(self, layer: nn.Module, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.function = layer, function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self, self.layer(inputs))


class Loss(nn.Module):
    """A loss of the user's own."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.function(outputs, targets)


def head(function: Callable[[Tensor], Tensor], inputs: int = 4, outputs: int = 3) -> nn.Module:
    """A linear layer that ends in a function."""
    return Functional(nn.Linear(inputs, outputs), lambda module, values: function(values))


def binary(*layers: nn.Module) -> nn.Module:
    """A network with 30 features and one output, and the layers behind."""
    return nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), *layers)
