"""Where a preset's data lies, and whether it is on this machine: a look at the file system, free of torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torchconsole.engine.config.inheritance import read_inherited
from torchconsole.engine.errors import DataError

BUNDLED = ("digits", "iris", "wine", "breast_cancer", "diabetes")
"""What comes with scikit-learn, so that it is on every machine."""

FOLDERS = ("ImageFolder", "DatasetFolder")
FILES = ("CSV", "NPZ", "Tensors")

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
"""What each of torchvision's sets leaves in its folder once it is there, as a pattern."""

DataState = Literal["here", "download", "missing", "unknown"]
"""On this machine; to be downloaded by the start; not there; not to be told without running code."""


@dataclass(frozen=True)
class DataPlace:
    """Whether data is there, and where that was looked at; no path for what needs none."""

    state: DataState
    path: Path | None = None


def shared_root(root: str | None) -> Path:
    """`data.root`, else $TORCHCONSOLE_DATA, else the user's data folder."""
    from platformdirs import user_data_path  # the menu's first frame does without it

    given = root or os.environ.get("TORCHCONSOLE_DATA")
    return Path(given).expanduser() if given else user_data_path("torchconsole")


def find_data(preset_file: Path) -> DataPlace:
    """Look for the data of a preset. Raises PresetError for a file that cannot be read."""
    section = read_inherited(preset_file).get("data")
    return look_for(section) if isinstance(section, dict) else DataPlace("unknown")


def look_for(section: dict[str, Any]) -> DataPlace:
    """Look for what a preset's data section names. A glance: whether it is whole is seen when it is read."""
    name, root = section.get("name"), section.get("root")
    if not isinstance(name, str) or not isinstance(root, str | None):
        return DataPlace("unknown")
    if name in BUNDLED or name == "FakeData":
        return DataPlace("here")
    if name in FOLDERS or name in FILES:
        return _look_at(name, root)
    if name not in VISION_SETS:
        return DataPlace("unknown")
    place = shared_root(root)
    absent: DataState = "download" if section.get("download") is True else "missing"
    return DataPlace("here" if any(place.glob(VISION_SETS[name])) else absent, place)


def _look_at(name: str, root: str | None) -> DataPlace:
    if root is None:
        return DataPlace("missing")
    path = Path(root).expanduser()
    there = path.is_dir() if name in FOLDERS else path.is_file()
    return DataPlace("here" if there else "missing", path)


def data_folder(name: str, root: str | None) -> Path:
    """Return the folder `data.root` of the source `name`. Raises DataError if it is not set or no folder."""
    path = _required_root(name, root, "folder")
    if not path.is_dir():
        raise DataError(f"data.root: {'not a folder:' if path.exists() else 'there is no folder'} {path}")
    return path


def data_file(name: str, root: str | None) -> Path:
    """Return the file `data.root` of the source `name`. Raises DataError if it is not set or no file."""
    path = _required_root(name, root, "file")
    if not path.is_file():
        raise DataError(f"data.root: {'not a file:' if path.exists() else 'there is no file'} {path}")
    return path


def _required_root(name: str, root: str | None, kind: str) -> Path:
    if root is None:
        raise DataError(f"data.root: {name} needs it: set it to the {kind} that holds the samples")
    return Path(root).expanduser()
