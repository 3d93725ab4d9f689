"""Metrics of the user's own: they also take outputs that no metric of torchmetrics takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.specs import USER_CODE, spec, trusted_file
from torchconsole.engine.components.metric_set import MetricSet
from torchconsole.engine.components.metrics import build_metrics
from torchconsole.engine.components.outputs import OutputKind
from torchconsole.engine.config.schema import MetricConfig
from torchconsole.engine.errors import ComponentError

LARGEST = """
import torch
from torchmetrics import Metric
class Largest(Metric):
    def __init__(self):
        super().__init__()
        self.add_state("largest", torch.tensor(0.0))
    def update(self, preds, target):
        self.largest = (preds[0] if isinstance(preds, tuple) else preds).max()
    def compute(self):
        return self.largest
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MetricConfig:
    return MetricConfig(name=f"{trusted_file(tmp_path, monkeypatch, LARGEST)}:Largest")


def metrics(*configs: MetricConfig) -> MetricSet:
    return build_metrics(configs, spec("multiclass", 5), OutputKind(), torch.device("cpu"), USER_CODE)


@pytest.mark.parametrize("outputs", [torch.full((6, 4), 3.0), (torch.full((6, 5), 3.0), torch.zeros(6))])
def test_outputs_of_another_form_arrive_as_they_are(own: MetricConfig, outputs: object) -> None:
    """The 4 logits of an ordinal regression (CORAL) of 5 classes, and several tensors."""
    built = metrics(own)
    built.update(outputs, torch.arange(6) % 5)
    assert built.compute() == {"val/largest": 3.0}


def test_outputs_of_the_usual_form_arrive_as_probabilities(own: MetricConfig) -> None:
    built = metrics(own)
    built.update(torch.zeros(6, 5), torch.arange(6) % 5)
    assert built.compute() == {"val/largest": pytest.approx(0.2)}


def test_beside_a_metric_of_torchmetrics_the_remedy_is_named(own: MetricConfig) -> None:
    with pytest.raises(ComponentError, match=r"must have 5; .* set metrics = \[\], or name only met"):
        metrics(own, MetricConfig(name="Accuracy")).update(torch.zeros(6, 4), torch.arange(6) % 5)
