"""The columns of the model pane: what the layers are, and what was measured of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torchconsole.engine.protocol.events import LayersMeasured
from torchconsole.engine.protocol.info import LayerInfo
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_bytes, format_count, format_number
from torchconsole.tui.widgets.frames import spark

VANISHING = 1e-3
"""A gradient vanishes if its root mean square is below this share of the largest layer's.

A sigmoid's derivative is at most 1/4, so that five of them in a row divide by a thousand (Hochreiter 1991;
Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks).
"""

EXPLODING = 0.1
"""A layer explodes if one step changes its weights by more than this share of their norm.

About 0.001 is usual (Stanford CS231n, Neural Networks Part 3, Ratio of weights:updates); this is 100 times as
much.
"""

DEAD = 0.4
"""A layer is dead from this share of dead units on (CS231n, Part 1: 40 % with too high a learning rate)."""

TREND = 12
"""Measurements whose gradient norms are drawn."""

Cell = Callable[[LayerInfo], str]


@dataclass(frozen=True)
class LayerTable:
    """The columns of the pane: their cells, which are numbers, which have bars, and which give way first."""

    cells: Mapping[str, Cell]
    numbers: Sequence[str]
    shares: Sequence[str] = ()
    giving_way: Sequence[str] = ()
    least: int = 0
    """Width of a column of numbers at least, so that nothing moves when numbers change."""


def _shape(layer: LayerInfo) -> str:
    return "?" if layer.output_shape is None else "x".join(map(str, layer.output_shape))


def _known(value: int | None, form: Callable[[float], str]) -> str:
    return "?" if value is None else form(value) if value else "-"


SIZES = LayerTable(
    cells={
        "layer": lambda layer: layer.name,
        "type": lambda layer: printable(layer.type),
        "output": _shape,
        "params": lambda layer: f"{layer.params:,}" if layer.params else "-",
        "trainable": lambda layer: f"{layer.trainable:,}" if layer.trainable else "-",
        "MACs": lambda layer: _known(layer.macs, format_count),
        "memory": lambda layer: _known(layer.activations, format_bytes),
    },
    numbers=("params", "trainable", "MACs", "memory"),
    shares=("params", "MACs"),
    giving_way=("output", "trainable", "memory", "MACs", "type"),
)


def is_frozen(layer: LayerInfo) -> bool:
    """Whether a layer has parameters, of which none is trained."""
    return layer.params > 0 and layer.trainable == 0


class LayerReadings:
    """What was measured of the layers in one step, with the gradient norms of the measurements before it."""

    def __init__(
        self,
        layers: Sequence[LayerInfo],
        measured: LayersMeasured,
        norms: Mapping[str, Sequence[float | str | None]],
    ) -> None:
        self._of = {found.name: found for found in measured.layers}
        self._norms = norms
        sizes = [self._gradient_size(layer) for layer in layers]
        self._largest = max((size for size in sizes if size is not None), default=0.0)
        self._words = {layer.name: word for layer in layers if (word := self._word(layer))}
        self.table = LayerTable(
            cells={
                "layer": SIZES.cells["layer"],
                "type": SIZES.cells["type"],
                "weights": lambda layer: self._number(layer, "weight_norm"),
                "gradient": lambda layer: self._number(layer, "grad_norm"),
                "trend": self._trend,
                "update": lambda layer: self._number(layer, "update_ratio"),
                "dead": self._dead,
                "mean": lambda layer: self._number(layer, "mean"),
                "deviation": lambda layer: self._number(layer, "deviation"),
            },
            numbers=("weights", "gradient", "update", "dead", "mean", "deviation"),
            giving_way=("deviation", "mean", "type", "trend", "weights", "dead", "update"),
            least=8,
        )

    def words(self, layer: LayerInfo, *, with_inner: bool) -> str:
        """Return what is wrong with a layer, or else how many layers inside it have what fault."""
        if layer.name in self._words or not with_inner:
            return self._words.get(layer.name, "")
        inside = [word for name, word in self._words.items() if name.startswith(f"{layer.name}.")]
        return ", ".join(f"{inside.count(word)} {word}" for word in dict.fromkeys(inside))

    def _word(self, layer: LayerInfo) -> str:
        found = self._of.get(layer.name)
        if found is None or is_frozen(layer):
            return ""
        if found.nonfinite or (found.update_ratio or 0.0) > EXPLODING:
            return "exploding"
        size = self._gradient_size(layer)
        if size is not None and size < VANISHING * self._largest:
            return "vanishing"
        return "dead" if (found.dead or 0.0) >= DEAD else ""

    def _gradient_size(self, layer: LayerInfo) -> float | None:
        """Return the root mean square of a layer's gradient."""
        found = self._of.get(layer.name)
        if found is None or found.grad_norm is None or not layer.trainable:
            return None
        return found.grad_norm / math.sqrt(layer.trainable)

    def _number(self, layer: LayerInfo, name: str) -> str:
        found = self._of.get(layer.name)
        if found is None:
            return ""
        value: float | None = getattr(found, name)
        if name in found.nonfinite:
            return str(found.nonfinite[name])
        return "-" if value is None else format_number(value)

    def _dead(self, layer: LayerInfo) -> str:
        found = self._of.get(layer.name)
        return "" if found is None else "-" if found.dead is None else f"{found.dead:.0%}"

    def _trend(self, layer: LayerInfo) -> str:
        norms = self._norms.get(layer.name, ())
        if all(norm is None for norm in norms):
            return ""
        trend = spark([math.nan if norm is None else float(norm) for norm in norms], TREND)
        signs = ("·" if norm is None else sign for norm, sign in zip(norms[-TREND:], trend, strict=True))
        return "".join(signs).ljust(TREND)
