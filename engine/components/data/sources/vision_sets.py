"""torchvision's datasets for image classification, with all the sets that each of them has."""

from __future__ import annotations

import atexit
import logging
import tarfile
import textwrap
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torchconsole.engine.components.data.datasets import BaseDataset, Splits
from torchconsole.engine.components.data.image_depth import ImageDecoder
from torchconsole.engine.components.data.inspecting import class_names, sample_files, wrap_dataset
from torchconsole.engine.components.data.sources.plain_pickles import only_plain_pickles
from torchconsole.engine.components.instantiate import check_arguments, classes_of, parameters_of
from torchconsole.engine.components.phase_progress import PhaseProgress
from torchconsole.engine.components.torchvision_compat import import_torchvision, replaced_download_bar
from torchconsole.engine.config.data_location import shared_root
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.text import first_line
from torchconsole.engine.user_folders import cannot_write, is_unwritable

log = logging.getLogger(__name__)

OTHER_TASKS = {
    **dict.fromkeys(("CocoCaptions", "Flickr8k", "Flickr30k", "SBU"), "it has captions"),
    **dict.fromkeys(("CocoDetection", "Kitti", "VOCDetection", "WIDERFace"), "it has boxes"),
    **dict.fromkeys(("Cityscapes", "SBDataset", "VOCSegmentation"), "it has masks"),
    **dict.fromkeys(("HMDB51", "Kinetics", "MovingMNIST", "UCF101"), "it has videos"),
    **dict.fromkeys(("LFWPairs", "PhotoTour"), "it has pairs of images"),
    "LSUNClass": "it has only one class; use LSUN",
}
"""torchvision's datasets for other tasks; the ones for optical flow and stereo are in private modules."""

SPLIT_NAMES = {
    "train": ("train", "trainval", "train-standard"),
    "val": ("val", "valid"),
    "test": ("test",),
}
"""The values of `split` in torchvision's datasets; the first that a dataset knows is used."""

RESERVED = ("root", "download", "transform", "target_transform", "transforms", "loader", "is_valid_file")
"""Arguments that a preset cannot give: keys of the data section, and functions."""

FAILURES = (
    *(OSError, EOFError, HTTPException, tarfile.TarError, zipfile.BadZipFile),
    *(RuntimeError, ImportError, AssertionError, LookupError),
)
"""What torchvision raises for data that is missing, cannot be downloaded, or is damaged."""

MAX_REASON_LENGTH = 400
"""Maximum length of an error message of torchvision, in characters; it names every mirror that it tried."""


def find_sets() -> dict[str, type]:
    """Return the classes of torchvision.datasets for image classification, by name."""
    datasets = import_torchvision("datasets")
    found: dict[str, type] = classes_of(datasets, datasets.VisionDataset)
    return {
        name: cls
        for name, cls in found.items()
        if name not in OTHER_TASKS and not cls.__module__.rpartition(".")[2].startswith("_")
    }


def open_set(cls: type, config: DataConfig, report: ReportPhase) -> Splits:
    """Open a dataset with all sets that it has; download it if it is missing and data.download is true.

    Raises ComponentError for its arguments, DataError if it is missing, cannot be downloaded or is damaged.
    """
    check_arguments("data", cls, dict.fromkeys(RESERVED), config.arguments)
    decoder = ImageDecoder()
    train, val, test = _open_splits(cls, config, decoder, report)
    if train is None:
        raise DataError(
            f"data: {cls.__name__} has no training set named {' or '.join(SPLIT_NAMES['train'])}; "
            "set data.split to the set to train on"
        )

    # Only sets that take a loader use the decoder.
    files = sample_files(train, len(train)) if "loader" in parameters_of(cls) and len(train) else None
    notes = decoder.choose_depth(files or [])

    def wrap(dataset: Any) -> BaseDataset:
        return wrap_dataset(dataset, cls.__name__, report, fixed=True).dataset

    return Splits(
        train=wrap(train),
        val=None if val is None else wrap(val),
        test=None if test is None else wrap(test),
        class_names=class_names(train),
        notes=notes,
    )


def _open_splits(
    cls: type, config: DataConfig, decoder: ImageDecoder, report: ReportPhase
) -> tuple[Any, Any, Any]:
    """Open the training, validation and test set with the argument by which `cls` selects one of them.

    If the preset gives this argument, only that set is opened.
    """
    takes, given = parameters_of(cls), config.arguments
    if "train" in takes and not {"train", "what"} & given.keys():
        train, test = (
            _open_split(cls, config, {"train": is_train}, decoder, report) for is_train in (True, False)
        )
        return train, None, test
    if "split" in takes and "train" not in takes and "split" not in given:
        train, val, test = (_open_named_split(cls, config, split, decoder, report) for split in SPLIT_NAMES)
        return train, val, test
    return _open_split(cls, config, {}, decoder, report), None, None


def _open_named_split(
    cls: type, config: DataConfig, split: str, decoder: ImageDecoder, report: ReportPhase
) -> Any:
    """Open a set by the first of its names that the dataset knows; return None if it knows none."""
    for name in SPLIT_NAMES[split]:
        try:
            return _open_split(cls, config, {"split": name}, decoder, report)
        except _NoSuchSplitError:
            continue
    return None


def _open_split(
    cls: type, config: DataConfig, selection: Mapping[str, Any], decoder: ImageDecoder, report: ReportPhase
) -> Any:
    """Open the files of one set; download them if they are missing and data.download is true."""
    takes = parameters_of(cls)
    root = shared_root(config.root)
    given = {**selection, **({"root": root} if "root" in takes else {})}
    if "loader" in takes and takes["loader"].default is not None:
        given["loader"] = decoder  # in place of torchvision's default for images in RGB
    try:
        return _make(cls, given, config.arguments)
    except _UnavailableError as missing:
        if "download" not in takes:
            raise DataError(
                f"data: {cls.__name__} cannot be read from {root}: put its files there, or set data.root to "
                f"their folder ({missing})"
            ) from missing
        if not config.download:
            raise DataError(
                f"data: {cls.__name__} is not in {root}: set data.download = true, put the files there, or "
                f"set data.root to their folder ({missing})"
            ) from missing
    report(PhaseChanged(phase="downloading data", subject=cls.__name__))
    with _report_downloads(cls.__name__, report):
        return _download(cls, {**given, "download": True}, config)


def _download(cls: type, given: dict[str, Any], config: DataConfig) -> Any:
    """Download a set and open it; to a temporary folder if the user's data folder cannot be written."""
    root, name = given.get("root"), cls.__name__
    try:
        return _make(cls, given, config.arguments)
    except _UnavailableError as failed:
        cause = failed.__cause__
        if config.root is not None or root is None or not is_unwritable(cause):
            advice = "set data.root to a folder that you can write and that has room"
            network = "check the network, or put the files there yourself"
            raise DataError(
                f"data: {name} cannot be downloaded to {root}: {failed}; "
                f"{advice if is_unwritable(cause) else network}"
            ) from failed
        log.warning(cannot_write(root, cause, f"{name} is downloaded again at each start; set data.root"))
    temporary = _temporary_root()
    return _download(cls, {**given, "root": temporary}, config.model_copy(update={"root": str(temporary)}))


@cache
def _temporary_root() -> Path:
    """Return a folder for downloads that this process removes at its end."""
    folder = TemporaryDirectory(prefix="torchconsole-data-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@contextmanager
def _report_downloads(name: str, report: ReportPhase) -> Iterator[None]:
    """Report downloads of dataset `name` as phase progress, instead of drawing bars on stderr."""

    def make_bar(total: int | None) -> _DownloadBar:
        return _DownloadBar(PhaseProgress(report, "downloading data", total, subject=name, unit="bytes"))

    with replaced_download_bar(make_bar):
        yield


class _DownloadBar:
    """Replaces a tqdm bar that counts bytes."""

    def __init__(self, progress: PhaseProgress) -> None:
        self._progress = progress

    def __enter__(self) -> _DownloadBar:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def update(self, count: int) -> None:
        """Count `count` more bytes as downloaded."""
        self._progress.advance(count)


class _UnavailableError(Exception):
    """The data is missing, cannot be downloaded, or is damaged; has torchvision's message, on one line."""


class _NoSuchSplitError(Exception):
    """The dataset has no set of that name."""


def _make(cls: type, given: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """Make a dataset. Raises ComponentError for its arguments, _UnavailableError for its data."""
    try:
        with only_plain_pickles():
            return cls(**given, **arguments)
    except (TypeError, ValueError) as error:
        if "argument split" in str(error) and "split" in given:
            raise _NoSuchSplitError from error
        raise ComponentError(f"data: {cls.__name__} rejects these arguments: {first_line(error)}") from error
    except FAILURES as error:
        reason = textwrap.shorten(str(error), MAX_REASON_LENGTH, placeholder=" ...")
        raise _UnavailableError(reason or type(error).__name__) from error
