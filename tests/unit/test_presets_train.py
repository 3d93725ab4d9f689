"""Every preset that ships trains an epoch: on its own data where bundled, else on small files like it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.data_files import write_cifar10, write_images, write_mnist, write_texts
from tests.support.sessions import RecordingEventQueue, setup_for
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.preset_index import list_presets
from torchconsole.engine.protocol.events import EvaluationCompleted
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.dry_run import dry_run
from torchconsole.engine.training.train_state import TrainState
from torchconsole.engine.training.trainer import Trainer
from torchconsole.engine.training.trial import first_batch

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
    write_images(root / "train", {"cat": 6, "dog": 6}, size=(40, 30))
    write_images(root / "val", {"cat": 2, "dog": 2}, size=(40, 30))


def _table(root: Path, patch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    rows = [
        f"{x:.3f},{'' if n % 9 == 4 else f'{y:.3f}'},{'red' if n % 2 else 'blue'},{n % 3}"
        for n, (x, y) in enumerate(random.normal(size=(90, 2)))
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "data.csv").write_text("\n".join(["a,b,colour,target", *rows]) + "\n")


def _texts(root: Path, patch: pytest.MonkeyPatch) -> None:
    write_texts(root, {"good": ["what a fine film", "fine!"] * 8, "bad": ["a dull film", "so dull"] * 8})


VGG = ["model.weights=", "data.batch_size=50"]
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
    setup = setup_for(preset)
    assert math.isfinite(dry_run(setup, first_batch(setup)).loss)
    saver = AsyncCheckpointWriter(tmp_path / "checkpoints", 1, event_queue.emit)
    saver.start()
    state = TrainState(setup)
    outcome = Trainer(setup, state, CheckpointManager(setup, state, saver), CommandQueue(), event_queue).run()
    assert (outcome.status, outcome.epoch) == ("finished", 1)
    [evaluated] = event_queue.of(EvaluationCompleted)
    assert evaluated.metrics["val/loss"] is not None
    assert len(evaluated.metrics) >= 2
    monitor = preset.early_stopping.monitor if preset.early_stopping else "val/loss"
    assert monitor in evaluated.metrics
