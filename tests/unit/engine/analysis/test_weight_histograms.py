"""Histograms of weights and gradients agree with NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from torchconsole.engine.analysis import weight_histograms
from torchconsole.engine.analysis.weight_histograms import BINS, HistogramSink, histogram
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.histograms import WeightHistograms
from torchconsole.engine.protocol.points import MetricsPoint


@pytest.mark.parametrize("piece", [7, 1 << 22])
def test_counts_extremes_and_sums(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_histograms, "PIECE", piece)
    values = torch.randn(50, 20, generator=torch.Generator().manual_seed(1))
    found = histogram(values)
    assert found is not None
    exact = values.double().numpy()
    counts, edges = np.histogram(exact, BINS)
    assert found.counts == counts.tolist()
    assert found.edges == pytest.approx(edges[1:].tolist())
    assert (found.low, found.high) == (exact.min(), exact.max())
    assert found.total == pytest.approx(exact.sum())
    assert found.squares == pytest.approx((exact**2).sum())


def test_values_that_are_not_finite_are_left_out() -> None:
    found = histogram(torch.tensor([1.0, float("nan"), 2.0, float("inf")]))
    assert found is not None
    assert (found.low, found.high, sum(found.counts)) == (1.0, 2.0, 2)
    assert histogram(torch.tensor([float("nan")])) is None
    assert histogram(torch.zeros(0)) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_equal_values_and_other_types(dtype: torch.dtype) -> None:
    found = histogram(torch.ones(10, dtype=dtype))
    assert found is not None
    assert (found.low, found.high, found.total, found.counts[0], sum(found.counts)) == (1, 1, 10, 10, 10)


class Sink:
    """Notes what it gets."""

    def __init__(self) -> None:
        self.got: list[object] = []

    def emit(self, event: ev.Event) -> None:
        self.got.append(event)

    def log(self, point: MetricsPoint) -> None:
        self.got.append(point)


def test_they_are_taken_after_evaluations_only_and_change_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=False))
    model(torch.ones(1, 3)).sum().backward()
    model[0].bias.grad = None
    sink, taken = Sink(), list[WeightHistograms]()
    before = torch.random.get_rng_state()
    passing = HistogramSink(sink, model, taken.append)
    point = MetricsPoint(1, 1, 1.0, 1.0, {"train/loss": 0.5})
    paused = ev.RunPaused(step=4)
    evaluated = ev.EvaluationCompleted(step=5, epoch=1, metrics={}, seconds=1.0, time=7.0)
    passing.log(point)
    for event in (paused, evaluated):
        passing.emit(event)
    assert sink.got == [point, paused, evaluated]
    (found,) = taken
    assert (found.step, found.time) == (5, 7.0)
    assert list(found.by_name) == [
        "weights/0.weight", "gradients/0.weight", "weights/0.bias", "weights/1.weight", "gradients/1.weight",
    ]  # fmt: skip
    assert sum(found.by_name["gradients/0.weight"].counts) == 6
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_tensor_that_cannot_be_counted_is_left_out_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = nn.Linear(3, 2)
    model.mix = nn.Parameter(torch.ones(4, dtype=torch.cfloat))
    model.scale = nn.Parameter(torch.ones(4).to(torch.float8_e4m3fn), requires_grad=False)
    taken = list[WeightHistograms]()
    passing = HistogramSink(Sink(), model, taken.append)
    for step in (1, 2):
        passing.emit(ev.EvaluationCompleted(step=step, epoch=1, metrics={}, seconds=1.0, time=7.0))
    assert [list(each.by_name) for each in taken] == [["weights/weight", "weights/bias"]] * 2
    (message,) = caplog.messages
    assert message.startswith("tracking.tensorboard: weights/mix cannot be counted (NotImplementedError: ")


def test_errors_of_the_device_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tensor: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(weight_histograms, "histogram", fail)
    passing = HistogramSink(Sink(), nn.Linear(3, 2), lambda found: None)
    with pytest.raises(torch.OutOfMemoryError):
        passing.emit(ev.EvaluationCompleted(step=1, epoch=1, metrics={}, seconds=1.0))
