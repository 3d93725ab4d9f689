"""Folders with one subfolder per class: images, or files of arrays and tensors."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from torchconsole.engine.components.data.datasets import MapStyleDataset, Splits
from torchconsole.engine.components.data.decoding import from_numpy, plain_tensor
from torchconsole.engine.components.data.image_depth import ImageDecoder
from torchconsole.engine.components.data.images import UnreadableError
from torchconsole.engine.components.data.sources.folder_layout import Layout, find_layout
from torchconsole.engine.components.data.sources.folder_tree import Folder
from torchconsole.engine.components.instantiate import UserCode, call
from torchconsole.engine.config.data_location import data_folder
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.text import error_summary

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"),
    *(".gif", ".jfif", ".jp2", ".avif"),
)
"""File names of images: torchvision's, and others that PIL reads."""

ARRAY_SUFFIXES = (".npy", ".npz", ".pt", ".pth")

Load = Callable[[str], Any]


@dataclass(frozen=True)
class ClassFolders:
    """A map-style dataset of the files in class folders, like torchvision's DatasetFolder."""

    samples: Sequence[tuple[str, int]]
    """Path and label of each."""
    load: Load

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        return self.load(path), label


@dataclass(frozen=True)
class ImageFolder:
    """Images in class folders, read in RGB; the layouts are those of `folder_layout`."""


@dataclass(frozen=True)
class DatasetFolder:
    """Files of one sample each in class folders: arrays, tensors, images, or what `loader` reads."""

    extensions: Sequence[str] = ARRAY_SUFFIXES
    """Ends of the names of the files."""
    loader: Mapping[str, Any] | None = None
    """User code that returns the sample in the file at a path: {"name": "own.py:load"}, with arguments."""

    def __post_init__(self) -> None:
        """Raises ValueError if `extensions` is not a list of texts, or `loader` names no user code."""
        given = self.extensions
        if not isinstance(given, list | tuple) or not all(name and isinstance(name, str) for name in given):
            raise ValueError("extensions must be a list such as ['.npy']")
        if self.loader is not None and not (
            isinstance(self.loader, dict) and is_user_code(str(self.loader.get("name")))
        ):
            raise ValueError('loader must be a function of yours: loader = { name = "own.py:load" }')

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The extensions in lower case, with their dots."""
        return tuple(f".{name.lower().lstrip('.')}" for name in self.extensions)


def open_image_folder(config: DataConfig, user_code: UserCode) -> Splits:
    """Open an ImageFolder. Raises DataError for a folder that is missing or has no images."""
    call("data", ImageFolder, {}, config.arguments)
    layout = find_layout(data_folder(config.name, config.root), IMAGE_SUFFIXES, "images")
    decode = _image_decoder(layout)
    return replace(_open(layout, decode), deep_images=decode.deep)


def open_dataset_folder(config: DataConfig, user_code: UserCode) -> Splits:
    """Open a DatasetFolder. Raises DataError for a folder that is missing or has no such files."""
    kind: DatasetFolder = call("data", DatasetFolder, {}, config.arguments)
    load: Load | None = None
    if kind.loader is not None:
        arguments = {key: value for key, value in kind.loader.items() if key != "name"}
        function = user_code.resolve("data.loader", kind.loader["name"])
        if not callable(function):
            raise ComponentError(f"data.loader.name: {kind.loader['name']} is not a function; name one")
        load = partial(function, **arguments)
    elif unknown := set(kind.suffixes) - set(IMAGE_SUFFIXES) - set(ARRAY_SUFFIXES):
        raise ComponentError(
            f"data.extensions: {min(unknown)} files are neither arrays, tensors nor images; set data.loader "
            'to a function of yours that reads one: loader = { name = "own.py:load" }'
        )
    layout = find_layout(data_folder(config.name, config.root), kind.suffixes, "samples")
    if load is not None:
        return _open(layout, load)
    decode = _image_decoder(layout)
    return replace(_open(layout, partial(load_file, decode=decode)), deep_images=decode.deep)


SOURCES = {"ImageFolder": open_image_folder, "DatasetFolder": open_dataset_folder}


def _open(layout: Layout, load: Load) -> Splits:
    names = sorted(layout.sets["train"])
    labels = {name: label for label, name in enumerate(names)}
    sets = {name: _dataset(classes, labels, load) for name, classes in layout.sets.items()}
    notes = [*layout.notes, *layout.note_other_files()]
    return Splits(
        sets["train"], sets.get("val"), sets.get("test"), task="multiclass", class_names=names, notes=notes
    )


def _dataset(classes: Mapping[str, Folder], labels: Mapping[str, int], load: Load) -> MapStyleDataset:
    samples = [(path, labels[name]) for name in sorted(classes) for path in classes[name].all_samples()]
    paths, targets = zip(*samples, strict=True)
    return MapStyleDataset(ClassFolders(samples, load), torch.tensor(targets), fixed=True, paths=paths)


def _image_decoder(layout: Layout) -> ImageDecoder:
    """Return what decodes the images of all sets; note if they are deep."""
    decoder = ImageDecoder()
    folders = (folder for classes in layout.sets.values() for folder in classes.values())
    layout.notes.extend(decoder.choose_depth([path for folder in folders for path in folder.all_samples()]))
    return decoder


def load_file(path: str, *, decode: Callable[[str], Any]) -> Any:
    """Load a tensor, an array or an image. Raises UnreadableError for a file that holds something else."""
    lower = path.lower()
    if lower.endswith(IMAGE_SUFFIXES):
        return decode(path)
    try:
        if lower.endswith((".npy", ".npz")):
            return _finite(from_numpy(_only_array(np.load(path, allow_pickle=False))))
        value = torch.load(path, weights_only=True, map_location="cpu")
        return _finite(plain_tensor(value) if isinstance(value, torch.Tensor) else value)
    except (ValueError, RuntimeError, EOFError, LookupError, pickle.UnpicklingError, DataError) as error:
        raise UnreadableError(f"data: not an array or a tensor: {error_summary(error)}") from error


def _finite(value: Any) -> Any:
    """Return a sample. Raises ValueError for a tensor with nan or infinite values."""
    if isinstance(value, torch.Tensor) and value.is_floating_point() and not torch.isfinite(value).all():
        raise ValueError("it has nan or infinite values")
    return value


def _only_array(content: Any) -> Any:
    """Return the array of a file. Raises ValueError for an archive of several."""
    if not isinstance(content, np.lib.npyio.NpzFile):
        return content
    with content:
        if len(content.files) != 1:
            raise ValueError(f"it has {len(content.files)} arrays; save one array per file")
        return content[content.files[0]]
