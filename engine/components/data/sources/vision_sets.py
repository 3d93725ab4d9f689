"""Torchvision's data sets for classifying images, each by its own arguments and with its own parts."""

from __future__ import annotations

import inspect
import tarfile
import textwrap
import zipfile
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from torchconsole.engine.components.data.datasets import BaseDataset, Splits
from torchconsole.engine.components.data.inspecting import class_names, open_dataset
from torchconsole.engine.components.data.sources.downloads import reported_downloads
from torchconsole.engine.components.instantiate import check_arguments, classes_of
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.config.data_location import shared_root
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.text import first_line

OTHER_TASKS = {
    **dict.fromkeys(("CocoCaptions", "Flickr8k", "Flickr30k", "SBU"), "it has captions"),
    **dict.fromkeys(("CocoDetection", "Kitti", "VOCDetection", "WIDERFace"), "it has boxes"),
    **dict.fromkeys(("Cityscapes", "SBDataset", "VOCSegmentation"), "it has masks"),
    **dict.fromkeys(("HMDB51", "Kinetics", "MovingMNIST", "UCF101"), "it has videos"),
    **dict.fromkeys(("LFWPairs", "PhotoTour"), "it has pairs of images"),
    "LSUNClass": "it is one class alone; LSUN has them all",
}
"""What else torchvision.datasets offers. Optical flow and stereo have private modules of their own."""

SPLIT_NAMES = {
    "train": ("train", "trainval", "train-standard"),
    "val": ("val", "valid"),
    "test": ("test",),
}
"""How torchvision's sets call their parts; the first that a set knows is taken."""

RESERVED = ("root", "download", "transform", "target_transform", "transforms", "loader", "is_valid_file")
"""Arguments that are keys of the data section themselves, and functions, which a preset cannot give."""

FAILURES = (
    *(OSError, EOFError, HTTPException, tarfile.TarError, zipfile.BadZipFile),
    *(RuntimeError, ImportError, AssertionError, LookupError),
)
"""What torchvision raises for data that is not there, cannot be fetched, or is damaged."""

MOST_CHARACTERS = 400
"""Of what torchvision says: it names each mirror it has tried."""


def find_sets() -> dict[str, type]:
    """The classes of torchvision.datasets that classify images, by name."""
    datasets = import_torchvision("datasets")
    found: dict[str, type] = classes_of(datasets, datasets.VisionDataset)
    return {
        name: cls
        for name, cls in found.items()
        if name not in OTHER_TASKS and not cls.__module__.rpartition(".")[2].startswith("_")
    }


def open_set(cls: type, config: DataConfig, report: ReportPhase) -> Splits:
    """A set with all parts that it brings, downloaded if need be and asked for.

    Raises ComponentError for its arguments, DataError where it is not there, cannot be fetched or is damaged.
    """
    check_arguments("data", cls, dict.fromkeys(RESERVED), config.arguments)
    train, val, test = _open_parts(cls, config, report)
    if train is None:
        raise DataError(f"data: {cls.__name__} has no training part by any of {SPLIT_NAMES['train']}")

    def samples(dataset: Any) -> BaseDataset:
        return open_dataset(dataset, cls.__name__, report, fixed=True)

    return Splits(
        train=samples(train),
        val=None if val is None else samples(val),
        test=None if test is None else samples(test),
        class_names=class_names(train),
    )


def parameters_of(cls: type) -> set[str]:
    """The names of all arguments: its own, and its base classes' where it passes the rest on to them."""
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        found = inspect.signature(vars(base)["__init__"]).parameters.values()
        names |= {parameter.name for parameter in found}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in found):
            break
    return names


def _open_parts(cls: type, config: DataConfig, report: ReportPhase) -> tuple[Any, Any, Any]:
    """The data sets for training, validation and test, by whichever argument `cls` chooses its part.

    A preset that gives this argument itself gets that part alone.
    """
    takes, given = parameters_of(cls), config.arguments
    if "train" in takes and not {"train", "what"} & given.keys():
        train, test = (_open_part(cls, config, {"train": part}, report) for part in (True, False))
        return train, None, test
    if "split" in takes and "train" not in takes and "split" not in given:
        train, val, test = (_open_named(cls, config, part, report) for part in SPLIT_NAMES)
        return train, val, test
    return _open_part(cls, config, {}, report), None, None


def _open_named(cls: type, config: DataConfig, part: str, report: ReportPhase) -> Any:
    """The part by the first of its names that the set knows; None where it knows none."""
    for name in SPLIT_NAMES[part]:
        try:
            return _open_part(cls, config, {"split": name}, report)
        except _NoSuchSplitError:
            continue
    return None


def _open_part(cls: type, config: DataConfig, part: Mapping[str, Any], report: ReportPhase) -> Any:
    """What lies there already, else what a download brings if the preset allows it."""
    takes = parameters_of(cls)
    root = shared_root(config.root)
    given = {**part, **({"root": root} if "root" in takes else {})}
    try:
        return _make(cls, given, config.arguments)
    except _UnavailableError as missing:
        if "download" not in takes:
            raise DataError(f"data: {cls.__name__} cannot be read from {root}: {missing}") from missing
        if not config.download:
            raise DataError(
                f"data: {cls.__name__} is not in {root}: set data.download = true, or put it there, or set "
                f"data.root to where it is ({missing})"
            ) from missing
    report(PhaseChanged(phase="downloading data", subject=cls.__name__))
    try:
        with reported_downloads(cls.__name__, report):
            return _make(cls, {**given, "download": True}, config.arguments)
    except _UnavailableError as failed:
        raise DataError(
            f"data: {cls.__name__} cannot be downloaded to {root}: {failed}; check the network, or put the "
            "files there by hand"
        ) from failed


class _UnavailableError(Exception):
    """Data that is not there, cannot be fetched, or is damaged; the message is torchvision's, on one line."""


class _NoSuchSplitError(Exception):
    """A part that a set does not have by that name."""


def _make(cls: type, given: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """A data set, with what is wrong with its arguments told apart from what is wrong with its data."""
    try:
        return cls(**given, **arguments)
    except (TypeError, ValueError) as error:
        if "argument split" in str(error) and "split" in given:
            raise _NoSuchSplitError from error
        raise ComponentError(f"data: {cls.__name__} refuses these arguments: {first_line(error)}") from error
    except FAILURES as error:
        told = textwrap.shorten(str(error), MOST_CHARACTERS, placeholder=" ...")
        raise _UnavailableError(told or type(error).__name__) from error
