"""Write small datasets to disk in the formats of well-known ones, and load datasets in one call."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from torchconsole.engine.components.data import DataModule, EvalBatches, TrainBatches, load_data
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.config.schema import TrainingConfig
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.protocol.events import ReportPhase

_user_folders = tempfile.TemporaryDirectory(prefix="torchconsole-tests-")
_FOLDERS = {f"XDG_{kind}_HOME": f"{_user_folders.name}/{kind}" for kind in ("CACHE", "DATA", "STATE")}


def user_folders() -> AbstractContextManager[Any]:
    """Let the user's cache, data and state be in a temporary folder of the tests."""
    return mock.patch.dict(os.environ, _FOLDERS)


def load(name: str, *, seed: int = 1, report: ReportPhase = lambda phase: None, **keys: Any) -> DataModule:
    """Call `load_data` on the CPU with the keys of a data section, without touching the user's folders."""
    config = DataConfig.model_validate({"name": name, **keys})
    with user_folders():
        return load_data(config, TrainingConfig(seed=seed), torch.device("cpu"), report, UserCode())


def load_user_dataset(path: Path, name: str, code: str, **keys: Any) -> DataModule:
    """Write `code` to the user file `path`, trust it, and `load` the dataset `name` from it."""
    path.write_text(
        f"import torch\nfrom torch.utils.data import Dataset, TensorDataset\n{code}", encoding="utf-8"
    )
    with user_folders():
        trust(path)
    return load(f"{path}:{name}", **keys)


def epoch_of(batches: TrainBatches, epoch: int = 0, start: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Return the batches of an epoch from `start` on."""
    return list(batches.epoch(epoch, start))


def all_of(batches: TrainBatches | EvalBatches) -> tuple[Tensor, Tensor]:
    """Return the inputs and the targets of all batches (of epoch 0), in one tensor each."""
    found = list(batches.epoch(0) if hasattr(batches, "epoch") else batches)
    return torch.cat([inputs for inputs, _ in found]), torch.cat([targets for _, targets in found])


def same_batches(some: list[tuple[Tensor, Tensor]], others: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether both lists of batches are bit-identical."""
    return len(some) == len(others) and all(
        torch.equal(x, other_x) and torch.equal(y, other_y)
        for (x, y), (other_x, other_y) in zip(some, others, strict=True)
    )


def write_idx(folder: Path, prefix: str, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
    """Write images (N, H, W) and labels (N,) as bytes in the format of MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    for array, kind in ((images, "images-idx3"), (labels, "labels-idx1")):
        header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"{prefix}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist(root: Path, name: str = "MNIST", train: int = 60, test: int = 20) -> None:
    """Write a dataset of 28x28 images with 10 classes in torchvision's layout."""
    random = np.random.default_rng(0)
    for prefix, count in (("train", train), ("t10k", test)):
        images = random.integers(0, 256, (count, 28, 28))
        write_idx(root / name / "raw", prefix, images, np.arange(count) % 10)


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch, per_batch: int = 20) -> np.ndarray[Any, Any]:
    """Write five training batches and a test batch, and let torchvision accept them; return the images."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6 * per_batch, 3, 32, 32), dtype=np.uint8)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    sums = []
    for number, name in enumerate(names):
        part = images[number * per_batch : (number + 1) * per_batch]
        labels = [index % 10 for index in range(per_batch)]
        sums.append([name, _dump(folder / name, {"data": part.reshape(len(part), -1), "labels": labels})])
    meta = _dump(folder / "batches.meta", {"label_names": [f"class {number}" for number in range(10)]})
    cifar = import_torchvision("datasets").CIFAR10
    monkeypatch.setattr(cifar, "train_list", sums[:-1])
    monkeypatch.setattr(cifar, "test_list", sums[-1:])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": meta})
    return images


def write_images(
    folder: Path,
    counts: Mapping[str, int],
    size: tuple[int, int] = (8, 8),
    suffix: str = "png",
    seed: int | None = None,
) -> None:
    """Write `counts[name]` random RGB images of `size` (width, height) to a folder for each class."""
    random = np.random.default_rng(len(counts) if seed is None else seed)
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = random.integers(0, 128, (size[1], size[0], 3), dtype=np.uint8) + np.uint8(100 * label)
            Image.fromarray(pixels).save(folder / name / f"{number:03}.{suffix}")


def write_texts(folder: Path, texts: Mapping[str, Sequence[str]]) -> None:
    """Write the texts of each class to files in a folder of that name."""
    for name, contents in texts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            (folder / name / f"{number:03}.txt").write_text(content, encoding="utf-8")


def _dump(path: Path, content: dict[str, Any]) -> str:
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


@contextmanager
def proxies(addresses: dict[str, str]) -> Iterator[None]:
    """Let urllib use these proxies, and not those of the environment or of an earlier test.

    urllib reads the environment once and keeps what it found for the life of the process.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(addresses))
    urllib.request.install_opener(opener)
    try:
        yield
    finally:
        urllib.request.install_opener(None)
