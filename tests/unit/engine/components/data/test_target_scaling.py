"""Regression targets are standardized for the loss; everything that people read is in their own unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.data_files import all_of, load
from tests.support.sessions import setup_for
from torchconsole.engine.components.data import DataModule
from torchconsole.engine.components.data.target_scaling import data_config_for
from torchconsole.engine.config.data_schema import TargetScaleConfig
from torchconsole.engine.config.loading import load_preset, validate
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.training.evaluation import evaluate


def write(folder: Path, targets: Any) -> Path:
    """Write three features of random numbers and `targets`."""
    path, targets = folder / "values.npz", np.asarray(targets)
    inputs = np.random.default_rng(0).normal(size=(len(targets), 3)).astype(np.float32)
    np.savez(path, inputs=inputs, targets=targets)
    return path


def in_unit(data: DataModule) -> tuple[Any, Any]:
    """The targets of the training and the validation set in their own unit, (N, K) float64."""
    scale = data.spec.target_scale
    assert scale is not None
    train, val = (
        all_of(part)[1].double().numpy() * scale.std + scale.mean for part in (data.train, data.val)
    )
    return train, val


def prices(count: int = 60) -> Any:
    return 200_000 + 80_000 * np.random.default_rng(1).normal(size=count)


def preset_for(path: Path, **sections: Any) -> Preset:
    content = {
        "title": "prices",
        "data": {"name": "NPZ", "root": str(path), **sections.pop("data", {})},
        "model": {"name": "MLP", "hidden": [4]},
        "training": {"device": "cpu", "threads": 1, "epochs": 1},
        **sections,
    }
    return validate(content, "test")


def test_the_mean_and_std_are_those_of_the_training_part(tmp_path: Path) -> None:
    data = load("NPZ", root=str(write(tmp_path, prices())))
    scale, standardized = data.spec.target_scale, all_of(data.train)[1]
    assert scale is not None
    assert (float(standardized.mean()), float(standardized.std(correction=0))) == pytest.approx(
        (0, 1), abs=1e-5
    )
    train, val = in_unit(data)
    assert (scale.mean, scale.std) == ([pytest.approx(train.mean())], [pytest.approx(train.std())])
    assert np.sort(np.concatenate([train, val]).flatten()) == pytest.approx(np.sort(prices()), rel=1e-6)
    [note] = [note for note in data.notes if "standardized" in note]
    assert note.startswith("the loss is computed on standardized targets (mean ")


@pytest.mark.parametrize(
    "targets",
    [
        1.7e9 + np.arange(60.0),
        np.stack([prices(), np.full(60, 5.0), 1e-4 * prices()], axis=1),
        np.arange(60, dtype=np.int64) * 1000,
    ],
    ids=["times", "columns, one constant", "whole numbers"],
)
def test_no_digit_that_matters_is_lost(tmp_path: Path, targets: Any) -> None:
    """A Unix time in float32 is off by up to 64 seconds."""
    data = load("NPZ", root=str(write(tmp_path, targets)), task="regression")
    found = np.sort(np.concatenate(in_unit(data)), axis=0)
    expected = np.sort(targets.reshape(len(targets), -1), axis=0)
    assert found == pytest.approx(expected, abs=1e-5 * targets.std())
    assert torch.isfinite(all_of(data.train)[1]).all()


@pytest.mark.parametrize(
    ("loss", "stated", "scaled"),
    [
        ({}, "auto", True),
        ({"name": "HuberLoss"}, "auto", True),
        ({"name": "PoissonNLLLoss"}, "auto", False),
        ({"name": "MSELoss", "also": [{"name": "PoissonNLLLoss"}]}, "auto", False),
        ({"name": "mine.py:Loss"}, "auto", False),
        ({"name": "mine.py:Loss"}, True, True),
        ({}, False, False),
    ],
)
def test_the_loss_decides_unless_the_preset_does(
    tmp_path: Path, loss: dict[str, Any], stated: Any, scaled: bool
) -> None:
    preset = preset_for(write(tmp_path, prices()), loss=loss, data={"scale_target": stated})
    config = data_config_for(preset)
    targets = all_of(load(**config.model_dump(exclude_none=True)).train)[1]
    assert (targets.abs().max() < 10) == scaled


def test_the_values_are_recorded_and_used_again(tmp_path: Path) -> None:
    path = write(tmp_path, prices())
    recorded = setup_for(preset_for(path)).preset.data.scale_target
    assert isinstance(recorded, TargetScaleConfig)
    stated = {"mean": [1.0], "std": [2.0]}
    again = setup_for(preset_for(path, data={"scale_target": stated}))
    assert again.preset.data.scale_target == TargetScaleConfig.model_validate(stated)
    assert setup_for(load_preset("digits-mlp")).preset.data.scale_target is False
    without = setup_for(preset_for(path, loss={"name": "PoissonNLLLoss"}))
    assert without.preset.data.scale_target is False


@pytest.mark.parametrize("columns", [1, 2])
def test_metrics_are_in_the_unit_of_the_targets_and_the_loss_is_not(tmp_path: Path, columns: int) -> None:
    targets = np.stack([prices(), 3 + prices() / 1e6], axis=1)[:, :columns]
    setup = setup_for(preset_for(write(tmp_path, targets)))
    found = evaluate(setup.model, setup.loss_fn, setup.data.val, setup.metrics)
    scale = setup.data.spec.target_scale
    assert scale is not None
    inputs, standardized = all_of(setup.data.val)
    outputs = setup.model.eval()(inputs).detach()
    predicted, true = (each.double().numpy() * scale.std + scale.mean for each in (outputs, standardized))
    squares = ((predicted - true) ** 2).mean(axis=0)
    expected = {
        "val/loss": float((outputs - standardized).square().mean()),
        "val/mae": float(np.abs(predicted - true).mean()),
        "val/mse": float(squares.mean()),
        "val/r2": float((1 - squares / true.var(axis=0)).mean()),
    }
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_net_with_the_usual_lr_learns_prices_and_not_their_mean_alone(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(200, 3))
    path = tmp_path / "prices.npz"
    targets = 200_000 + inputs @ [60_000, -40_000, 30_000]
    np.savez(path, inputs=inputs.astype(np.float32), targets=targets)
    setup = setup_for(
        preset_for(path, optimizer={"name": "AdamW", "lr": 0.01}, model={"name": "MLP", "hidden": [16]})
    )
    setup.model.train()
    for epoch in range(60):
        for batch, target in setup.data.train.epoch(epoch):
            setup.optimizer.zero_grad()
            setup.loss_fn(setup.model(batch), target).backward()
            setup.optimizer.step()
    found = evaluate(setup.model, setup.loss_fn, setup.data.val, setup.metrics)
    by_the_mean = float(np.abs(targets - targets.mean()).mean())
    assert found["val/mae"] is not None
    assert found["val/mae"] < by_the_mean / 10


@pytest.mark.parametrize(
    ("scale", "loss", "message"),
    [
        (
            {"mean": [1.0, 2.0], "std": [1.0, 1.0]},
            {},
            "2 mean and 2 std values do not fit",
        ),
        (
            True,
            {"name": "PoissonNLLLoss"},
            "PoissonNLLLoss needs counts as targets",
        ),
    ],
)
def test_what_cannot_be_standardized_is_refused(
    tmp_path: Path, scale: Any, loss: dict[str, Any], message: str
) -> None:
    preset = preset_for(write(tmp_path, prices()), loss=loss, data={"scale_target": scale})
    with pytest.raises((ComponentError, DataError)) as caught:
        setup_for(preset)
    assert message in str(caught.value)


def test_classes_are_not_standardized(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only targets of a regression are standardized"):
        load("digits", scale_target=True)


@pytest.mark.parametrize(("targets", "noted"), [(np.full(30, 2.5), True), (np.arange(30) / 7, False)])
def test_targets_that_are_all_the_same_are_told(tmp_path: Path, targets: Any, noted: bool) -> None:
    np.savez(tmp_path / "a.npz", inputs=np.random.default_rng(0).random((30, 4)), targets=targets)
    notes = load("NPZ", root=str(tmp_path / "a.npz")).notes
    assert ("all 24 training targets are 2.5: there is nothing to learn" in notes) == noted
