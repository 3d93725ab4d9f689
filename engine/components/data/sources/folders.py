"""Folders with one subfolder per class: images, or arrays and tensors."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchconsole.engine.components.data.datasets import BaseDataset, Splits
from torchconsole.engine.components.data.decoding import from_numpy
from torchconsole.engine.components.data.inspecting import wrap_dataset
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.config.data_location import data_folder
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase

SPLIT_FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""Names of the folders of the training, validation and test sets."""

MAX_REASON_LENGTH = 200
"""Maximum length of an error message of torchvision, in characters."""


@dataclass(frozen=True)
class ImageFolder:
    """torchvision's ImageFolder: `root/CLASS/a.jpg`; or `root/train/CLASS/a.jpg`, root/val, root/test."""

    def open(self, folder: Path) -> Any:
        """Return torchvision's dataset over one folder."""
        return import_torchvision("datasets").ImageFolder(folder)


@dataclass(frozen=True)
class DatasetFolder:
    """torchvision's DatasetFolder over files of one array or tensor each, laid out like an ImageFolder."""

    extensions: Sequence[str] = (".npy", ".pt")

    def __post_init__(self) -> None:
        """Raises ValueError if `extensions` is not a list of texts."""
        given = self.extensions
        if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
            raise ValueError("extensions must be a list such as ['.npy']")

    def open(self, folder: Path) -> Any:
        """Return torchvision's dataset over one folder."""
        datasets = import_torchvision("datasets")
        return datasets.DatasetFolder(folder, _load_file, extensions=tuple(self.extensions))


def open_image_folder(config: DataConfig, report: ReportPhase) -> Splits:
    """Open an ImageFolder. Raises DataError for a folder that is missing or has no images."""
    return _open_splits(call("data", ImageFolder, {}, config.arguments), config, report)


def open_dataset_folder(config: DataConfig, report: ReportPhase) -> Splits:
    """Open a DatasetFolder. Raises DataError for a folder that is missing or has no such files."""
    return _open_splits(call("data", DatasetFolder, {}, config.arguments), config, report)


SOURCES = {"ImageFolder": open_image_folder, "DatasetFolder": open_dataset_folder}


def _open_splits(kind: ImageFolder | DatasetFolder, config: DataConfig, report: ReportPhase) -> Splits:
    root = data_folder(config.name, config.root)
    folders = {split: _find_folder(root, names) for split, names in SPLIT_FOLDERS.items()}
    train = _open_folder(kind, folders["train"] or root)
    held_out: dict[str, BaseDataset | None] = {"val": None, "test": None}
    if folders["train"]:
        for split in held_out:
            if folder := folders[split]:
                held_out[split] = _wrap_with_labels_of(train, _open_folder(kind, folder), folder, report)
    dataset = wrap_dataset(train, str(train.root), report, fixed=True)
    names = list(train.classes)
    return Splits(dataset, held_out["val"], held_out["test"], task="multiclass", class_names=names)


def _find_folder(root: Path, names: Sequence[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _open_folder(kind: ImageFolder | DatasetFolder, folder: Path) -> Any:
    try:
        return kind.open(folder)
    except OSError as error:
        # torchvision lists every class that has no image.
        reason = textwrap.shorten(str(error), MAX_REASON_LENGTH, placeholder=" ...")
        raise DataError(f"data.root: {folder}: {reason}") from error


def _wrap_with_labels_of(train: Any, held_out: Any, folder: Path, report: ReportPhase) -> BaseDataset:
    """Return `held_out` with the labels of the training set; its own labels differ if it lacks a class."""
    unknown = [name for name in held_out.classes if name not in train.class_to_idx]
    if unknown:
        raise DataError(
            f"data: {folder} has the class {unknown[0]!r}, which {train.root} does not have; "
            "add it to the training set, or remove it"
        )
    labels = torch.tensor([train.class_to_idx[name] for name in held_out.classes])
    dataset = wrap_dataset(held_out, str(folder), report, fixed=True)
    return dataset.with_targets(labels[dataset.targets])


def _load_file(path: str) -> Any:
    """Load a tensor or an array. Raises OSError for a file that holds something else."""
    try:
        if path.endswith(".npy"):
            return from_numpy(np.load(path, allow_pickle=False))
        return torch.load(path, weights_only=True)
    except (ValueError, RuntimeError, EOFError) as error:
        raise OSError(f"not an array or a tensor: {error}") from error
