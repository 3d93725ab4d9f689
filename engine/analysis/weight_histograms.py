"""Histograms of the weights and gradients of a training, taken at its evaluations."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from torchconsole.engine.components.devices import DEVICE_ERRORS
from torchconsole.engine.protocol.events import EvaluationCompleted, Event
from torchconsole.engine.protocol.histograms import Histogram, WeightHistograms
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.text import error_summary
from torchconsole.engine.training.event_sink import EventSink

log = logging.getLogger(__name__)

BINS = 64

PIECE = 1 << 22
"""Values that are counted at a time: the indices of their bins take eight bytes each."""


class HistogramSink:
    """Passes events on, and after each evaluation hands the histograms to `receive`.

    The gradients are those of the last step, after clipping. The host waits for the device then. A tensor
    that cannot be counted, such as a complex one, is left out, with one warning for the whole training.
    """

    def __init__(
        self, sink: EventSink, model: nn.Module, receive: Callable[[WeightHistograms], object]
    ) -> None:
        self.log: Callable[[MetricsPoint], None] = sink.log
        self._sink = sink
        self._model = model
        self._receive = receive
        self._has_warned = False

    def emit(self, event: Event) -> None:
        """Pass an event on, and take the histograms at an evaluation."""
        self._sink.emit(event)
        if isinstance(event, EvaluationCompleted):
            self._receive(WeightHistograms(event.step, event.time, dict(self._histograms())))

    def _histograms(self) -> Iterator[tuple[str, Histogram]]:
        for name, parameter in self._model.named_parameters():
            for kind, tensor in (("weights", parameter.detach()), ("gradients", parameter.grad)):
                if tensor is not None and (found := self._counted(f"{kind}/{name}", tensor)) is not None:
                    yield f"{kind}/{name}", found

    def _counted(self, name: str, tensor: Tensor) -> Histogram | None:
        try:
            return histogram(tensor)
        except DEVICE_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - some types and kinds of tensors have no aminmax or bincount
            if not self._has_warned:
                log.warning(
                    "tracking.tensorboard: %s cannot be counted (%s); such tensors have no histogram",
                    name,
                    error_summary(error),
                )
            self._has_warned = True
            return None


def histogram(tensor: Tensor) -> Histogram | None:
    """Count the finite values of a tensor of any shape and type in BINS bins; None if it has none.

    Draws no random numbers, and uses deterministic operations only, which torch.histc on a GPU is not.
    """
    values = (tensor.coalesce().values() if tensor.is_sparse else tensor).detach().flatten()
    if not len(values):
        return None
    low, high = (float(end) for end in values.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):  # a NaN makes both NaN
        return histogram(values[values.isfinite()])
    width = (high - low) / BINS or 1.0
    counts = torch.zeros(BINS, dtype=torch.int64, device=values.device)
    total = squares = 0.0
    for piece in torch.split(values, PIECE):
        exact = piece.double() if piece.device.type != "mps" else piece.float()
        bins = ((exact - low) / width).long().clamp(0, BINS - 1)
        counts += torch.bincount(bins, minlength=BINS)
        total += float(exact.sum())
        squares += float(exact.square().sum())
    edges = [low + width * (number + 1) for number in range(BINS)]
    return Histogram(low, high, total, squares, edges, counts.tolist())
