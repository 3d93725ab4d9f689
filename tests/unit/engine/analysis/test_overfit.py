"""`check --overfit` tells a model that can learn one batch by heart from one that cannot."""

from __future__ import annotations

import pytest

from tests.support.sessions import setup_for
from torchconsole.engine.analysis.overfit import overfit
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.protocol.reports import OverfitReport
from torchconsole.engine.training.trial import first_batch


def report_of(preset: str, *overrides: str, seconds: float = 10.0) -> OverfitReport:
    setup = setup_for(load_preset(preset, overrides))
    return overfit(setup, first_batch(setup), seconds)


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("digits-mlp", []),
        ("digits-mlp", ["loss.label_smoothing=0.2"]),
        ("digits-mlp", ["model.dropout=0.8"]),
        ("breast-cancer-binary", []),
        ("digits-mlp", ["training.clip_norm=0.5"]),
        ("digits-mlp", ['schedule=[{name="LinearLR", start_factor=1e-6}]']),
        ("diabetes-regression", ["optimizer.lr=0.03", "data.batch_size=8"]),
    ],
)
def test_a_sound_model_learns_a_batch(preset: str, overrides: list[str]) -> None:
    report = report_of(preset, *overrides)

    assert report.learned
    assert report.limit is not None
    assert report.curve[-1][1] <= report.limit < report.curve[0][1]
    assert [report.curve[0][0], report.curve[-1][0]] == [1, report.steps]


@pytest.mark.parametrize("overrides", [["optimizer.lr=1e-9"]])
def test_a_model_that_does_not_change_learns_no_batch(overrides: list[str]) -> None:
    report = report_of("digits-mlp", *overrides, seconds=0.2)

    assert not report.learned
    assert len(report.curve) <= 202
