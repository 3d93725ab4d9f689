"""The user's own data set: any map-style class of torch, or a function that makes one."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset, TensorDataset

from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, Splits
from torchconsole.engine.components.data.decoding import compact
from torchconsole.engine.components.data.inspecting import class_names, open_dataset
from torchconsole.engine.components.instantiate import UserCode, call
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import ReportPhase


def open_own(config: DataConfig, own: UserCode, report: ReportPhase) -> Splits:
    """The samples of the data set that `config.name` means.

    It is made with the preset's further keys; with `root` and `download` where it takes them; and where it
    takes `train`, once with True and once with False for the part that is held out. Raises ComponentError
    for what is no map-style data set, TrustError, and DataError for an empty one.
    """
    factory = own.resolve("data", config.name)
    takes = _parameters(factory, config.name)
    given: dict[str, Any] = {"download": config.download} if "download" in takes else {}
    if "root" in takes and config.root is not None:
        given["root"] = Path(config.root).expanduser()
    if "train" not in takes or "train" in config.arguments:
        dataset = _make(factory, given, config)
        return Splits(_samples(dataset, config.name, report), class_names=class_names(dataset))
    train, test = (_make(factory, {**given, "train": part}, config) for part in (True, False))
    return Splits(
        _samples(train, config.name, report),
        test=_samples(test, config.name, report),
        class_names=class_names(train),
    )


def _parameters(factory: Any, name: str) -> set[str]:
    try:
        return set(inspect.signature(factory).parameters)
    except (TypeError, ValueError) as error:
        raise ComponentError(f"data.name: {name} is neither a class nor a function of Python") from error


def _make(factory: Any, given: dict[str, Any], config: DataConfig) -> Any:
    dataset = call("data", factory, given, config.arguments)
    if isinstance(dataset, IterableDataset):
        raise ComponentError(
            f"data.name: {config.name} can only be iterated; a data set with an index is needed"
        )
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise ComponentError(
            f"data.name: {config.name} makes a {type(dataset).__name__}; a data set with __getitem__ and "
            "__len__ is needed"
        )
    return dataset


def _samples(dataset: Any, name: str, report: ReportPhase) -> BaseDataset:
    if type(dataset) is TensorDataset and len(dataset.tensors) == 2 and len(dataset):
        inputs, targets = dataset.tensors
        return InMemoryDataset(compact(inputs, samples=True), targets)
    # It may draw random numbers of its own, so nothing of it is read once and kept.
    return open_dataset(dataset, name, report, fixed=False)
