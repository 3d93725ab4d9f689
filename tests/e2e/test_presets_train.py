"""Every preset that ships trains an epoch, and a check finds nothing to warn of.

Data that comes with no library is replaced by small files like it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.data_files import write_cifar10, write_images, write_mnist, write_texts
from tests.support.sessions import RecordingEventQueue, ignore_phase, parts_for
from torchconsole.engine.analysis.findings import find, find_in_data
from torchconsole.engine.analysis.start_check import check_parts
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.preset_index import list_presets
from torchconsole.engine.protocol.events import EvaluationCompleted
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.resolve import ResolvedPreset
from torchconsole.engine.training.setup import TrainingSetup, build_optimization
from torchconsole.engine.training.train_state import TrainState
from torchconsole.engine.training.trainer import Trainer

ONE_EPOCH = ["training.epochs=1", "training.device=cpu", "training.threads=1"]
HERE = ["data.download=false", "data.batch_size=10"]

WriteData = Callable[[Path, pytest.MonkeyPatch], None]


def _mnist(root: Path, patch: pytest.MonkeyPatch) -> None:
    write_mnist(root, "MNIST")


def _fashion(root: Path, patch: pytest.MonkeyPatch) -> None:
    write_mnist(root, "FashionMNIST")


def _cifar(root: Path, patch: pytest.MonkeyPatch) -> None:
    write_cifar10(root, patch)


def _images(root: Path, patch: pytest.MonkeyPatch) -> None:
    write_images(root / "train", {"cat": 6, "dog": 6}, size=(40, 30), seed=1)
    write_images(root / "val", {"cat": 2, "dog": 2}, size=(40, 30), seed=2)


def _table(root: Path, patch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    rows = [
        f"{x:.3f},{'' if n % 9 == 4 else f'{y:.3f}'},{'red' if n % 2 else 'blue'},{n % 3}"
        for n, (x, y) in enumerate(random.normal(size=(90, 2)))
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "data.csv").write_text("\n".join(["a,b,colour,target", *rows]) + "\n")


def _texts(root: Path, patch: pytest.MonkeyPatch) -> None:
    numbers = range(16)
    good, bad = (
        [f"a fine film, part {number}" for number in numbers],
        [f"so dull, {number}" for number in numbers],
    )
    write_texts(root, {"good": good, "bad": bad})


VGG = ["model.weights=", "data.batch_size=20"]
RESNET = ["model.weights=", "data.num_workers=0", "data.batch_size=6"]
LIKE: dict[str, tuple[WriteData, list[str]]] = {
    "mnist-lenet": (_mnist, HERE),
    "fashion-mnist-cnn": (_fashion, HERE),
    "cifar10-simple": (_cifar, HERE),
    "cifar10-simple-v3": (_cifar, HERE),
    "cifar10-simple-v3-wide": (_cifar, HERE),
    "cifar10-resnet9": (_cifar, ["data.download=false", "data.batch_size=20", "data.limit=40"]),
    "cifar10-vgg16-transfer": (_cifar, ["data.download=false", "data.limit=20", *VGG]),
    "imagefolder-finetune": (_images, RESNET),
    "imagefolder-discriminative": (_images, RESNET),
    "csv-regression": (_table, []),
    "csv-classification": (_table, []),
    "text-classification": (_texts, ["data.batch_size=8"]),
}
"""Presets whose data comes with no library: data of the same format, and what small data asks for."""


def _in_full(setup: TrainingSetup, name: str) -> TrainingSetup:
    """Return the setup with all epochs of the preset, and the learning rates of such a run."""
    training = setup.preset.training.model_copy(update={"epochs": load_preset(name).training.epochs})
    preset = ResolvedPreset(setup.preset.model_copy(update={"training": training}))
    batches = setup.data.train.batches_per_epoch
    _, learning_rate = build_optimization(preset, setup.model, batches, setup.user_code)
    return replace(setup, preset=preset, learning_rate=learning_rate)


def _warnings(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level != "hint"]


@pytest.mark.parametrize("name", [entry.name for entry in list_presets()])
def test_it_trains_an_epoch(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    overrides = list(ONE_EPOCH)
    if name in LIKE:
        write_data, more = LIKE[name]
        root = tmp_path / "data"
        write_data(root, monkeypatch)
        is_table = write_data is _table
        overrides += [f"data.root={root / 'data.csv' if is_table else root}", *more]
    preset = load_preset(name, overrides)
    event_queue = RecordingEventQueue()
    checked = check_parts(parts_for(preset), ignore_phase)
    setup = checked.setup
    assert math.isfinite(checked.dry_run.loss)
    assert not _warnings([*find(_in_full(setup, name), checked.dry_run), *find_in_data(setup)])
    saver = AsyncCheckpointWriter(tmp_path / "checkpoints", 1, event_queue.emit)
    saver.start()
    state = TrainState(setup)
    outcome = Trainer(
        setup, state, CheckpointManager(setup.preset.checkpoint, state, saver), CommandQueue(), event_queue
    ).run()
    assert (outcome.status, outcome.epoch) == ("finished", 1)
    [evaluated] = event_queue.of(EvaluationCompleted)
    assert evaluated.metrics["val/loss"] is not None
    assert len(evaluated.metrics) >= 2
    monitor = preset.early_stopping.monitor if preset.early_stopping else "val/loss"
    assert monitor in evaluated.metrics
