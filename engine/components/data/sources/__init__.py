"""Opens the dataset that a preset names: built-in, of torchvision, or in the user's code."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset, TensorDataset

from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, Splits
from torchconsole.engine.components.data.decoding import compact
from torchconsole.engine.components.data.inspecting import class_names, wrap_dataset
from torchconsole.engine.components.data.sources import arrays, folders, tables, vision_sets
from torchconsole.engine.components.instantiate import UserCode, call, pick
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import ReportPhase

Source = Callable[[DataConfig, ReportPhase], Splits]

BUILTIN_SOURCES: dict[str, Source] = {**arrays.BUNDLED, **arrays.FILES, **tables.SOURCES}
"""Sources that need no import of torchvision to be found."""


def open_source(config: DataConfig, user_code: UserCode, report: ReportPhase) -> Splits:
    """Open the dataset that the preset names, with the sets that it has.

    Raises ComponentError for an unknown name or argument, TrustError for user code that is not trusted, and
    DataError for data that is missing or damaged.
    """
    if is_user_code(config.name):
        return _open_user_dataset(config, user_code, report)
    if config.name in folders.SOURCES:
        return folders.SOURCES[config.name](config, user_code)
    source = BUILTIN_SOURCES.get(config.name) or _find_in_torchvision(config.name)
    return source(config, report)


def _find_in_torchvision(name: str) -> Source:
    if name in vision_sets.OTHER_TASKS:
        raise ComponentError(
            f"data.name: {name} is not for image classification: {vision_sets.OTHER_TASKS[name]}"
        )
    known = dict(BUILTIN_SOURCES)
    for vision_name, cls in vision_sets.find_sets().items():
        known.setdefault(vision_name, partial(vision_sets.open_set, cls))
    return pick("data", name, known)


def _open_user_dataset(config: DataConfig, user_code: UserCode, report: ReportPhase) -> Splits:
    """Open a dataset in user code: a map-style dataset class, or a function that returns a dataset.

    It is called with the remaining keys of the data section, and with `root` and `download` if it takes them.
    If it takes `train`, it is called twice: with True, and with False for the held-out set.
    """
    factory = user_code.resolve("data", config.name)
    parameters = _parameters(factory, config.name)
    given: dict[str, Any] = {"download": config.download} if "download" in parameters else {}
    if "root" in parameters and config.root is not None:
        given["root"] = Path(config.root).expanduser()
    if "train" not in parameters or "train" in config.arguments:
        dataset = _make_user_dataset(factory, given, config)
        return Splits(_wrap_user_dataset(dataset, config.name, report), class_names=class_names(dataset))
    train, test = (
        _make_user_dataset(factory, {**given, "train": is_train}, config) for is_train in (True, False)
    )
    return Splits(
        _wrap_user_dataset(train, config.name, report),
        test=_wrap_user_dataset(test, config.name, report),
        class_names=class_names(train),
    )


def _parameters(factory: Any, name: str) -> set[str]:
    try:
        return set(inspect.signature(factory).parameters)
    except (TypeError, ValueError) as error:
        raise ComponentError(
            f"data.name: {name} is neither a class nor a function; name one that returns a dataset"
        ) from error


def _make_user_dataset(factory: Any, given: dict[str, Any], config: DataConfig) -> Any:
    dataset = call("data", factory, given, config.arguments)
    if isinstance(dataset, IterableDataset):
        raise ComponentError(
            f"data.name: {config.name} is an iterable-style dataset; a map-style one (with __getitem__ and "
            "__len__) is needed"
        )
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise ComponentError(
            f"data.name: {config.name} returns an object of type {type(dataset).__name__}; a dataset with "
            "__getitem__ and __len__ is needed"
        )
    return dataset


def _wrap_user_dataset(dataset: Any, name: str, report: ReportPhase) -> BaseDataset:
    if type(dataset) is TensorDataset and len(dataset.tensors) == 2 and len(dataset):
        inputs, targets = dataset.tensors
        return InMemoryDataset(compact(inputs, samples=True), targets)
    # It may draw random numbers, so its samples cannot be read once and kept.
    return wrap_dataset(dataset, name, report, fixed=False)
