"""Find out whether a preset's data is on this machine: checks that files exist, without importing torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torchconsole.engine import user_folders
from torchconsole.engine.config.preset_files import existing_file, read_inherited
from torchconsole.engine.errors import DataError

if TYPE_CHECKING:  # pydantic is not needed before the menu's first frame
    from torchconsole.engine.config.schema import Preset

BUNDLED = ("digits", "iris", "wine", "breast_cancer", "diabetes")
"""Datasets that come with scikit-learn and are therefore on every machine."""

FOLDERS = ("ImageFolder", "DatasetFolder", "TextFiles")
FILES = ("CSV", "Parquet", "Feather", "NPZ", "Tensors")

VISION_SETS = {
    "Caltech101": "caltech101/101_ObjectCategories",
    "Caltech256": "caltech256/256_ObjectCategories",
    "CelebA": "celeba/img_align_celeba",
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "CLEVRClassification": "clevr/CLEVR_v1.0",
    "Country211": "country211",
    "DTD": "dtd/dtd",
    "EMNIST": "EMNIST/raw/*-ubyte",
    "EuroSAT": "eurosat/2750",
    "FashionMNIST": "FashionMNIST/raw/train-images-idx3-ubyte",
    "FER2013": "fer2013/*.csv",
    "FGVCAircraft": "fgvc-aircraft-2013b",
    "Flowers102": "flowers-102/jpg",
    "Food101": "food-101/images",
    "GTSRB": "gtsrb/GTSRB",
    "ImageNet": "meta.bin",
    "Imagenette": "imagenette2*",
    "KMNIST": "KMNIST/raw/train-images-idx3-ubyte",
    "LFWPeople": "lfw-py/lfw*",
    "MNIST": "MNIST/raw/train-images-idx3-ubyte",
    "Omniglot": "omniglot-py/images_*",
    "OxfordIIITPet": "oxford-iiit-pet/images",
    "PCAM": "pcam/*.h5",
    "QMNIST": "QMNIST/raw/*-ubyte",
    "RenderedSST2": "rendered-sst2",
    "SEMEION": "semeion.data",
    "StanfordCars": "stanford_cars/devkit",
    "STL10": "stl10_binary",
    "SUN397": "SUN397",
    "SVHN": "train_32x32.mat",
    "USPS": "usps*.bz2",
}
"""Pattern of the files that each torchvision dataset has in its folder after a download."""

DataState = Literal["here", "download", "missing", "unknown"]
"""On this machine; downloaded when the run starts; not there; unknown without running code."""


@dataclass(frozen=True)
class DataLocation:
    """Whether data is there, and the path that was checked; None for data without a path."""

    state: DataState
    path: Path | None = None


def shared_root(root: str | None) -> Path:
    """Return `data.root`, else $TORCHCONSOLE_DATA, else the user's data folder."""
    given = root or os.environ.get("TORCHCONSOLE_DATA")
    return user_folders.expand_user(given) if given else user_folders.data_folder()


def with_absolute_files(preset: Preset) -> Preset:
    """Return the preset with absolute paths of its data, tokenizer and weights.

    A run is resumed and evaluated from any folder, which may have other files of these names.
    """
    data, model = preset.data, preset.model
    found: dict[str, str] = {}
    if data.root:
        found["root"] = _absolute(data.root)
    tokenizer = data.arguments.get("tokenizer")
    if isinstance(tokenizer, str) and tokenizer.endswith(".json"):
        found["tokenizer"] = _absolute(tokenizer)
    if model.weights and existing_file(model.weights):
        model = model.model_copy(update={"weights": _absolute(model.weights)})
    return preset.model_copy(update={"data": data.model_copy(update=found), "model": model})


def absolute_places(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the absolute paths of data, tokenizer and weights that a preset has in the working folder.

    In another folder, it would not find them by their relative paths.
    """
    found = {}
    for section, key in (("data", "root"), ("data", "tokenizer"), ("model", "weights")):
        table = content.get(section)
        place = table.get(key) if isinstance(table, Mapping) else None
        if isinstance(place, str) and place and _is_in_working_folder(key, place):
            found[f"{section}.{key}"] = _absolute(place)
    return found


def _is_in_working_folder(key: str, place: str) -> bool:
    """Whether the value of a key is a path, and not a word such as DEFAULT, of what is there."""
    if key == "tokenizer" and not place.endswith(".json"):
        return False
    path = user_folders.expand_user(place)
    try:
        return not path.is_absolute() and (path.is_file() or (key == "root" and path.exists()))
    except (OSError, ValueError):  # a name that no file can have
        return False


def _absolute(path: str) -> str:
    return str(user_folders.expand_user(path).absolute())


def find_data(preset_file: Path) -> DataLocation:
    """Find the data of a preset. Raises PresetError if the file cannot be read."""
    section = read_inherited(preset_file).get("data")
    return locate_data(section) if isinstance(section, dict) else DataLocation("unknown")


def locate_data(section: dict[str, Any]) -> DataLocation:
    """Find the data that a preset's data section names.

    Checks only that it exists: damaged data is detected when it is read. Unknown in a closed folder.
    """
    try:
        return _locate(section)
    except OSError:
        return DataLocation("unknown")


def _locate(section: dict[str, Any]) -> DataLocation:
    name, root = section.get("name"), section.get("root")
    if not isinstance(name, str) or not isinstance(root, str | None):
        return DataLocation("unknown")
    if name in BUNDLED or name == "FakeData":
        return DataLocation("here")
    if name in FOLDERS or name in FILES:
        return _locate_path(name, root)
    if name not in VISION_SETS:
        return DataLocation("unknown")
    folder = shared_root(root)
    absent: DataState = "download" if section.get("download") is True else "missing"
    return DataLocation("here" if any(folder.glob(VISION_SETS[name])) else absent, folder)


def _locate_path(name: str, root: str | None) -> DataLocation:
    if root is None:
        return DataLocation("missing")
    path = user_folders.expand_user(root)
    exists = path.is_dir() if name in FOLDERS else path.is_file()
    return DataLocation("here" if exists else "missing", path)


def data_folder(name: str, root: str | None) -> Path:
    """Return the folder `data.root` of the source `name`. Raises DataError if it is unset or not a folder."""
    path = _required_root(name, root, "folder")
    if not path.is_dir():
        raise DataError(f"data.root: {_problem(path, 'folder')}")
    return path


def data_file(name: str, root: str | None) -> Path:
    """Return the file `data.root` of the source `name`. Raises DataError if it is unset or not a file."""
    path = _required_root(name, root, "file")
    if not path.is_file():
        raise DataError(f"data.root: {_problem(path, 'file')}")
    return path


def _problem(path: Path, kind: str) -> str:
    return f"{path} is not a {kind}" if path.exists() else f"there is no {kind} {path}"


def _required_root(name: str, root: str | None, kind: str) -> Path:
    if root is None:
        raise DataError(f"data.root: {name} requires this key: set it to the {kind} that holds the samples")
    return user_folders.expand_user(root)
