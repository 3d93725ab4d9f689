"""Measures each layer in one step of every N: norms, the size of the update, dead units, activations.

A measured step reads what the training computes, and changes nothing. The host waits for the device there.
Compiled code calls no hooks, so with training.compile the activations and gradients are those of a second,
uncompiled pass over the step's first batch, which is undone. An uncompiled step in place of the compiled one
would change the results, see `step_phases`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from torchconsole.engine.components.outputs import first_tensor
from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.events import Event, LayersMeasured
from torchconsole.engine.protocol.info import LayerStatistics
from torchconsole.engine.protocol.points import flag_nonfinite
from torchconsole.engine.text import error_summary
from torchconsole.engine.training.elements import dense_parts
from torchconsole.engine.training.preserve import preserve
from torchconsole.engine.training.setup import TrainingSetup

log = logging.getLogger(__name__)

LEAST_SECONDS = 1.0
"""Least time between two measurements, so that a fast training sends little."""

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers whose weight has a row for each unit: the gradient of a dead unit's row is 0."""

CHANNELS_FIRST = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d, nn.GroupNorm)
"""Layers whose outputs of three dimensions are (B, C, L); those of others are (B, L, F)."""


class LayerWatch:
    """Measures the layers every `every` steps, but not more often than once in LEAST_SECONDS.

    A layer is a module with parameters of its own, or without modules in it. `begin`, `read_gradients` and
    `finish` are called in each step, and do nothing in steps that are not measured. If the layers cannot be
    measured, a warning is logged and no further step is measured; a device that fails ends the run. Raises
    CommandRejectedError if the weights are sharded over processes.
    """

    def __init__(self, setup: TrainingSetup, every: int, emit: Callable[[Event], None]) -> None:
        if setup.ranks.is_sharded:
            raise CommandRejectedError(
                "layers cannot be measured while each process holds a part of every weight "
                '(distributed.strategy = "fsdp")'
            )
        self.every = every
        self._setup = setup
        self._emit = emit
        self._layers = {
            name: module for name, module in setup.model.named_modules() if _is_layer(name, module)
        }
        self._next_step = 0
        self._next_time = 0.0
        self._measurement: _Measurement | None = None

    def begin(self, step: int, inputs: Tensor, targets: Tensor) -> bool:
        """Before the first batch of the step after `step`: measure that step and return True if it is due."""
        if step < self._next_step or time.monotonic() < self._next_time:
            return False
        self._next_step = step + self.every
        self._next_time = time.monotonic() + LEAST_SECONDS
        with self._warning():
            self._measurement = _Measurement(step, self._layers)
            if self._setup.preset.training.compile:
                self._measure_again(self._measurement, inputs, targets)
            else:
                self._measurement.attach()
        return True

    def read_gradients(self) -> None:
        """After the backward passes, before the gradients are clipped."""
        if self._measurement is not None and not self._setup.preset.training.compile:
            with self._warning():
                self._measurement.read_gradients()

    def finish(self, step: int) -> None:
        """After the step, whose number is `step`: report, unless the step was skipped."""
        measured = self._measurement
        if measured is None:
            return
        measured.detach()
        layers = None
        if step > measured.step:
            with self._warning():
                layers = measured.results()
        self._measurement = None
        if layers is not None:
            eager = self._setup.preset.training.compile
            self._emit(LayersMeasured(step=step, every=self.every, eager=eager, layers=layers))

    @contextmanager
    def _warning(self) -> Iterator[None]:
        """Turn an error into a warning, and measure no further step."""
        try:
            yield
        except torch.AcceleratorError:
            raise
        except Exception as error:  # noqa: BLE001 - the model may raise anything, and figures are not worth a run
            if self._measurement is not None:
                self._measurement.detach()
            self._measurement = None
            self._next_step = sys.maxsize
            log.warning("the layers cannot be measured: %s", error_summary(error))

    def _measure_again(self, measurement: _Measurement, inputs: Tensor, targets: Tensor) -> None:
        """Make an uncompiled pass over a batch, and undo what it does to the training."""
        setup, scaler = self._setup, self._setup.precision.scaler
        scale = scaler.get_scale() if scaler is not None else 1.0
        with (
            preserve([setup.model, setup.loss_fn]),
            torch.compiler.set_stance("force_eager"),
        ):
            measurement.attach()
            with setup.precision.autocast:
                loss: Tensor = setup.loss_fn(setup.model(inputs), targets)
            if setup.penalty is not None:
                loss = loss + setup.penalty()
            (loss * scale).backward()  # type: ignore[no-untyped-call]
            measurement.read_gradients(scale)
            measurement.detach()


@dataclass
class _Seen:
    """What the forward passes and the gradients of one step show of a layer; the tensors are on its device.

    `outputs` has the size, variance and mean of each output, `alive` tells which units were not 0 (U,).
    """

    outputs: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    alive: Tensor | None = None
    grad_norm: Tensor | None = None
    dead: Tensor | None = None


class _Measurement:
    """The layers in the step after `step`. The weights from before it are kept in the host's memory."""

    def __init__(self, step: int, layers: dict[str, nn.Module]) -> None:
        self.step = step
        self._layers = layers
        self._seen = {name: _Seen() for name in layers}
        self._before = {
            name: [weight.detach().to("cpu", copy=True) for weight in _own(module)]
            for name, module in layers.items()
        }
        self._hooks: list[Any] = []
        self._failure: Exception | None = None
        self._is_channels_first = False
        """Whether the last layer with weights that has run is one of CHANNELS_FIRST."""

    def attach(self) -> None:
        """Look at the outputs of all layers from now on. TorchScript's modules allow no hooks."""
        for name, module in self._layers.items():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            self._hooks.append(module.register_forward_hook(partial(self._hook, self._seen[name])))

    def detach(self) -> None:
        """Stop looking at outputs."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _hook(self, seen: _Seen, module: nn.Module, inputs: object, output: object) -> None:
        """Look at an output. An error is kept for `read_gradients`: here it would end the training's pass."""
        if self._failure is not None:
            return
        try:
            has_weights = bool(_own(module))
            if has_weights:
                self._is_channels_first = isinstance(module, CHANNELS_FIRST)
            _look(seen, output, has_weights=has_weights, is_channels_first=self._is_channels_first)
        except torch.AcceleratorError:
            raise
        except Exception as error:  # noqa: BLE001 - a module may return anything
            self._failure = error

    def read_gradients(self, scale: float = 1.0) -> None:
        """Read the norms of the gradients, which are `scale` times as large, and find dead units.

        Raises what an output raised that could not be measured.
        """
        if self._failure is not None:
            raise self._failure
        for name, module in self._layers.items():
            seen = self._seen[name]
            gradients = [dense_parts(weight.grad)[0] for weight in _own(module) if weight.grad is not None]
            if gradients:
                seen.grad_norm = get_total_norm(gradients) / scale
            # Not `module.weight`: a parametrization would compute it again, and may change its own state.
            own = dict(module.named_parameters(recurse=False)) if isinstance(module, WEIGHTED) else {}
            weight = own.get("weight")
            if weight is not None and weight.grad is not None:
                seen.dead = 1 - _nonzero(weight.grad, 0).float().mean()
            elif seen.alive is not None and not _own(module):
                seen.dead = 1 - seen.alive.float().mean()

    def results(self) -> list[LayerStatistics]:
        """Return the statistics of every layer. The host waits for the device here."""
        return [self._result(name, module) for name, module in self._layers.items()]

    def _result(self, name: str, module: nn.Module) -> LayerStatistics:
        seen, before = self._seen[name], self._before[name]
        after = [weight.detach().to("cpu") for weight in _own(module)]
        weight_norm = float(get_total_norm(before)) if before else None
        update_ratio = None
        if weight_norm and seen.grad_norm is not None:
            changes = [new - old for new, old in zip(after, before, strict=True)]
            update_ratio = float(get_total_norm(changes)) / weight_norm
        mean, deviation = _combined(seen.outputs)
        values, nonfinite = flag_nonfinite(
            {
                "weight_norm": weight_norm,
                "grad_norm": None if seen.grad_norm is None else seen.grad_norm.item(),
                "update_ratio": update_ratio,
                "dead": None if seen.dead is None else seen.dead.item(),
                "mean": mean,
                "deviation": deviation,
            }
        )
        return LayerStatistics(name=name, nonfinite=nonfinite, **values)


def _look(seen: _Seen, output: object, *, has_weights: bool, is_channels_first: bool) -> None:
    """Note the mean and deviation of a layer's output, and which units are not 0 in all of it."""
    found = first_tensor(output)
    if found is None or not found.is_floating_point() or not found.numel():
        return
    values = found.detach()
    try:
        variance, mean = torch.var_mean(values, correction=0)
    except torch.AcceleratorError:
        raise
    except RuntimeError:  # torch computes no mean of sparse and nested tensors
        return
    seen.outputs.append((values.numel(), variance, mean))
    if values.dim() > 1 and not has_weights:
        alive = _nonzero(values, _unit_dimension(values, is_channels_first=is_channels_first))
        is_same_size = seen.alive is not None and seen.alive.shape == alive.shape
        seen.alive = alive | seen.alive if is_same_size and seen.alive is not None else alive


def _combined(outputs: Sequence[tuple[int, Tensor, Tensor]]) -> tuple[float | None, float | None]:
    """Return mean and deviation over all outputs together, from the sizes, variances and means of each."""
    if not outputs:
        return None, None
    parts = [(size, variance.item(), mean.item()) for size, variance, mean in outputs]
    total = sum(size for size, _, _ in parts)
    mean = sum(size * part for size, _, part in parts) / total
    variance = sum(size * (spread + (part - mean) ** 2) for size, spread, part in parts) / total
    return mean, variance**0.5


def _nonzero(values: Tensor, dimension: int) -> Tensor:
    """Return which of the units along a dimension have a value that is not 0; shape (U,)."""
    values = values.abs() if values.is_complex() else values
    others = [other for other in range(values.dim()) if other != dimension % values.dim()]
    return (values.amax(others) != 0) | (values.amin(others) != 0)


def _unit_dimension(values: Tensor, *, is_channels_first: bool) -> int:
    """Return the dimension of the units.

    They are channels in images (B, C, H, W) and in outputs (B, C, L) after one of CHANNELS_FIRST, else
    features (B, ..., F).
    """
    return 1 if values.dim() > 3 or (values.dim() == 3 and is_channels_first) else -1


def _is_layer(name: str, module: nn.Module) -> bool:
    return bool(name) and (bool(_own(module)) or next(module.children(), None) is None)


def _own(module: nn.Module) -> list[nn.Parameter]:
    """Return a module's own parameters that can be trained: one of integers has no norm."""
    own = module.parameters(recurse=False)
    return [weight for weight in own if weight.is_floating_point() or weight.is_complex()]
