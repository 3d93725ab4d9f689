"""Folders with one sub-folder for each class: images, or arrays and tensors."""

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
from torchconsole.engine.components.data.inspecting import open_dataset
from torchconsole.engine.components.data.sources.places import named_folder
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase

PART_FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""What the folders of a data set's parts are called."""

MOST_CHARACTERS = 200
"""Of a message of torchvision's."""


@dataclass(frozen=True)
class ImageFolder:
    """torchvision's ImageFolder: `root/CLASS/a.jpg`; or `root/train/CLASS/a.jpg`, root/val, root/test."""

    def open(self, folder: Path) -> Any:
        """The data set of one part."""
        return import_torchvision("datasets").ImageFolder(folder)


@dataclass(frozen=True)
class DatasetFolder:
    """torchvision's DatasetFolder over files of one array or tensor each, laid out like an ImageFolder."""

    extensions: Sequence[str] = (".npy", ".pt")

    def __post_init__(self) -> None:
        """Raises ValueError for what is no list of file name endings."""
        given = self.extensions
        if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
            raise ValueError("extensions must be a list such as ['.npy']")

    def open(self, folder: Path) -> Any:
        """The data set of one part."""
        return import_torchvision("datasets").DatasetFolder(
            folder, _load_file, extensions=tuple(self.extensions)
        )


def open_images(config: DataConfig, report: ReportPhase) -> Splits:
    """An ImageFolder. Raises DataError for a folder that is not there or has no images."""
    return _open_parts(call("data", ImageFolder, {}, config.arguments), config, report)


def open_arrays(config: DataConfig, report: ReportPhase) -> Splits:
    """A DatasetFolder. Raises DataError for a folder that is not there or has no such files."""
    return _open_parts(call("data", DatasetFolder, {}, config.arguments), config, report)


SOURCES = {"ImageFolder": open_images, "DatasetFolder": open_arrays}


def _open_parts(kind: ImageFolder | DatasetFolder, config: DataConfig, report: ReportPhase) -> Splits:
    root = named_folder(config)
    folders = {part: _part_folder(root, names) for part, names in PART_FOLDERS.items()}
    train = _open(kind, folders["train"] or root)
    opened: dict[str, BaseDataset | None] = {"val": None, "test": None}
    if folders["train"]:
        for part in opened:
            if folder := folders[part]:
                opened[part] = _with_labels_of(train, _open(kind, folder), folder, report)
    samples = open_dataset(train, str(train.root), report, fixed=True)
    return Splits(samples, opened["val"], opened["test"], task="multiclass", class_names=list(train.classes))


def _part_folder(root: Path, names: Sequence[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _open(kind: ImageFolder | DatasetFolder, folder: Path) -> Any:
    try:
        return kind.open(folder)
    except OSError as error:
        # torchvision lists every class that it found no image of.
        told = textwrap.shorten(str(error), MOST_CHARACTERS, placeholder=" ...")
        raise DataError(f"data.root: {folder}: {told}") from error


def _with_labels_of(train: Any, part: Any, folder: Path, report: ReportPhase) -> BaseDataset:
    """The samples of `part` with the training part's labels: its own differ where it lacks a class."""
    unknown = [name for name in part.classes if name not in train.class_to_idx]
    if unknown:
        raise DataError(f"data: {folder} has the class {unknown[0]!r}, which {train.root} does not have")
    labels = torch.tensor([train.class_to_idx[name] for name in part.classes])
    samples = open_dataset(part, str(folder), report, fixed=True)
    return samples.with_targets(labels[samples.targets])


def _load_file(path: str) -> Any:
    """A tensor or an array. Raises OSError for a file that holds something else."""
    try:
        if path.endswith(".npy"):
            return from_numpy(np.load(path, allow_pickle=False))
        return torch.load(path, weights_only=True)
    except (ValueError, RuntimeError, EOFError) as error:
        raise OSError(f"not an array or a tensor: {error}") from error
