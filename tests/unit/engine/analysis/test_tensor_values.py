"""The ranges of tensors equal those computed by hand, also with values that are not finite."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.support.sessions import MakeSession
from torchconsole.engine.analysis.tensor_values import (
    checkpoint_values_report,
    describe,
    initial_values_report,
)
from torchconsole.engine.components.models.weights import weights_of
from torchconsole.engine.config.loading import write_preset
from torchconsole.engine.run.names import BEST
from torchconsole.engine.training.checkpoint import read_checkpoint


def test_ranges_are_of_the_finite_values() -> None:
    state = {"weight": torch.tensor([[0.0, 1.0, 2.0], [5.0, math.nan, math.inf]]), "steps": torch.tensor(3)}
    (weight,) = describe(state)
    assert (weight.name, weight.shape) == ("weight", [2, 3])
    assert (weight.min, weight.max, weight.mean) == (0.0, 5.0, 2.0)
    assert weight.deviation == pytest.approx(math.sqrt((4 + 1 + 0 + 9) / 4))
    assert weight.zeros == pytest.approx(1 / 6)
    assert weight.nonfinite == 2


def test_a_tensor_without_finite_values_has_no_range() -> None:
    lost, empty = describe({"lost": torch.tensor([math.nan]), "empty": torch.empty(0)})
    assert (lost.min, lost.deviation, lost.nonfinite) == (None, None, 1)
    assert (empty.max, empty.zeros, empty.nonfinite) == (None, 0.0, 0)


def test_the_values_of_a_preset_are_those_that_its_run_starts_with(
    session: MakeSession, tmp_path: Path
) -> None:
    made = session("training.seed=3").setup
    write_preset(made.preset, tmp_path / "preset.toml")
    report = initial_values_report(str(tmp_path / "preset.toml"))
    assert report.checkpoint is None
    assert report.tensors == describe(made.model.state_dict())


def test_the_values_of_a_checkpoint_are_those_of_its_ema(session: MakeSession) -> None:
    done = session("training.epochs=1", "ema.decay=0.5")
    done.trainer.run()
    report = checkpoint_values_report(str(done.checkpoints / BEST))
    state = read_checkpoint(done.checkpoints / BEST)
    assert report.averaged
    assert report.tensors == describe(weights_of(state, averaged=True))
    assert report.tensors != describe(weights_of(state, averaged=False))
