"""Comparing the settings of runs and presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchconsole.engine.config.comparison import (
    changes_from_preset,
    differing_keys,
    flatten,
    preset_settings,
    same_but_seed,
    seed_groups,
)
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.config.preset_files import find_file, read_toml
from torchconsole.engine.run.folder import RunFolder

BASE: dict[str, Any] = {
    "title": "A",
    "data": {"name": "digits", "batch_size": 32, "normalize": {"mean": [0.1], "std": [1.0]}},
    "optimizer": {"name": "AdamW", "lr": 0.1, "groups": []},
    "schedule": [{"name": "LinearLR", "until": 10}, {"name": "CosineAnnealingLR"}],
    "training": {"seed": 1, "threads": 2},
}


def changed(**settings: Any) -> dict[str, Any]:
    """Return flat settings of BASE with some keys changed; None removes one."""
    found = flatten(BASE) | {key.replace("__", "."): value for key, value in settings.items()}
    return {key: value for key, value in found.items() if value is not None}


def test_settings_are_flat_and_without_texts() -> None:
    assert flatten(BASE) == {
        "data.name": "digits",
        "data.batch_size": 32,
        "data.normalize.mean": [0.1],
        "data.normalize.std": [1.0],
        "optimizer.name": "AdamW",
        "optimizer.lr": 0.1,
        "schedule.0.name": "LinearLR",
        "schedule.0.until": 10,
        "schedule.1.name": "CosineAnnealingLR",
        "training.seed": 1,
        "training.threads": 2,
    }


def test_only_what_differs_is_listed() -> None:
    same = changed(optimizer__lr=1e-1, data__batch_size=32.0)
    assert differing_keys([changed(), same]) == []
    others = [changed(), changed(optimizer__lr=0.2, training__seed=None), changed(model__name="MLP")]
    assert differing_keys(others) == ["optimizer.lr", "training.seed", "model.name"]
    assert differing_keys([changed(a=True), changed(a=1)]) == ["a"]
    assert differing_keys([changed(a=float("nan")), changed(a=float("nan"))]) == []


def test_runs_that_differ_in_the_seed_alone() -> None:
    one, two = changed(), changed(training__seed=2, data__normalize__mean=[0.2], training__threads=1)
    third = changed(training__seed=3, optimizer__lr=0.2)
    assert same_but_seed(one, two)
    assert not same_but_seed(one, third)
    assert seed_groups([one, third, two]) == [[0, 2]]
    assert seed_groups([one, changed(), changed(training__threads=8)]) == []
    assert seed_groups([]) == []


def test_what_the_preset_leaves_open_is_no_difference() -> None:
    preset = changed(data__normalize="auto", data__normalize__mean=None, data__normalize__std=None)
    preset |= {"training.threads": "auto"}
    assert changes_from_preset(changed(), preset) == {}
    run = changed(optimizer__lr=0.2, training__max_steps=5, data__batch_size=None)
    assert changes_from_preset(run, preset | {"training.threads": 4}) == {
        "data.batch_size": (32, None),
        "optimizer.lr": (0.1, 0.2),
        "training.threads": (4, 2),
        "training.max_steps": (None, 5),
    }


def test_a_section_that_was_removed_is_one_difference() -> None:
    stopping = {"early_stopping.monitor": "val/loss", "early_stopping.mode": "min"}
    assert changes_from_preset(changed(), changed() | stopping) == {"early_stopping": ("set", None)}
    assert changes_from_preset(changed() | stopping, changed()) == {
        "early_stopping.monitor": (None, "val/loss")
    }


def test_a_run_of_a_preset_has_its_settings(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    preset = load_preset("digits-cnn", ["optimizer.lr=0.5", "training.precision=fp32"])
    write_preset(preset, folder.preset_file)
    settings = flatten(read_toml(folder.preset_file))
    found = changes_from_preset(settings, preset_settings(find_file("digits-cnn")))
    assert found == {"optimizer.lr": (0.003, 0.5)}
