"""Datasets in user code: classes and functions, called once for each set that they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, Splits
from torchconsole.engine.components.data.decoding import compact, plain_tensor
from torchconsole.engine.components.data.inspecting import wrap_dataset
from torchconsole.engine.components.data.sources.folder_layout import TITLES
from torchconsole.engine.components.data.sources.same_samples import same_samples
from torchconsole.engine.components.data.sources.set_arguments import SetArgument, find_set_argument
from torchconsole.engine.components.data.sources.streams import describe_stream, read_stream
from torchconsole.engine.components.data.transforms import normalizes
from torchconsole.engine.components.instantiate import UserCode, call, parameters_of
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import error_summary
from torchconsole.engine.user_folders import expand_user

REJECTIONS = (OSError, ValueError, LookupError, AssertionError, NotImplementedError)
"""What user code raises for a set that it does not have."""

MAX_DEPTH = 4
"""Datasets around datasets in which transforms are searched."""


def open_user_dataset(config: DataConfig, user_code: UserCode, report: ReportPhase) -> Splits:
    """Open a dataset in user code: a dataset class, or a function that returns a dataset.

    It is called with the remaining keys of the data section, and with `root` and `download` if it takes them;
    if an argument selects a set (`train`, `split`, ...), once for each set. Raises ComponentError if it does
    not return a dataset, DataError for samples that do not fit.
    """
    return _UserDatasets(config, user_code.resolve("data", config.name), report).open()


class _UserDatasets:
    """The datasets that one class or function returns."""

    def __init__(self, config: DataConfig, factory: Any, report: ReportPhase) -> None:
        self.config = config
        self.factory = factory
        self.report = report
        self.names: list[str] = []
        self.notes: list[str] = []
        try:
            parameters = parameters_of(factory)
        except (TypeError, ValueError) as error:
            raise ComponentError(
                f"data.name: {config.name} is neither a class nor a function; name one that returns a dataset"
            ) from error
        self.given: dict[str, Any] = {"download": config.download} if "download" in parameters else {}
        if "root" in parameters and config.root is not None:
            self.given["root"] = expand_user(config.root)

    def open(self) -> Splits:
        argument = find_set_argument(self.factory, self.config.arguments)
        dataset = self._make({}) if argument is None else self._make_train(argument)
        train = self._wrap(dataset)
        found: dict[str, BaseDataset] = {}
        if argument is not None:
            found = self._open_held_out(argument, train)
            used = ", ".join(TITLES[name] for name in ("train", *found))
            self.notes.append(f"{self.config.name} is opened for each set with {argument.name}: {used}")
        return Splits(
            train,
            found.get("val"),
            found.get("test"),
            class_names=self.names,
            normalized=_normalizes(dataset),
            notes=self.notes,
        )

    def _make_train(self, argument: SetArgument) -> Any:
        """Make the training set by the first of its values that is accepted."""
        errors = []
        for selection in argument.values["train"]:
            try:
                dataset = self._make(selection)
                if len(dataset) or selection is argument.values["train"][-1]:
                    return dataset
            except ComponentError as error:
                errors.append(error)
        if not argument.requires_word:
            raise errors[0]
        word = argument.values["train"][0][argument.name]
        raise ComponentError(
            f"data.{argument.name}: {self.config.name} requires this argument, and rejects {word!r}: "
            f"{error_summary(errors[0].__cause__ or errors[0])}"
        ) from errors[0]

    def _open_held_out(self, argument: SetArgument, train: BaseDataset) -> dict[str, BaseDataset]:
        """Open the validation and the test set, by the first of their values that the dataset knows."""
        found: dict[str, BaseDataset] = {}
        for name in ("val", "test"):
            reasons: list[str] = []
            as_train: Mapping[str, Any] | None = None
            for selection in argument.values.get(name, []):
                dataset = self._open_if_there(selection, argument.known, reasons)
                if dataset is None:
                    continue
                same = next(
                    (other for other in (train, *found.values()) if same_samples(dataset, other)), None
                )
                if same is None:
                    found[name] = dataset
                    break
                as_train = selection if same is train else as_train
            if name not in found and argument.known:
                if as_train is not None:
                    raise DataError(
                        f"data.name: {self.config.name} has the same samples with {_format(as_train)} as "
                        f"for training; correct it, or set data.{argument.name} to open one set and split it"
                    )
                self.notes += reasons
        return found

    def _open_if_there(
        self, selection: Mapping[str, Any], known: bool, reasons: list[str]
    ) -> BaseDataset | None:
        """Open one set; return None, and add the reason, if it is empty or its value is not accepted."""
        try:
            dataset = self._make(selection)
            if len(dataset):
                return self._wrap(dataset)
            reason = "it is empty"
        except ComponentError as error:
            reason = error_summary(error.__cause__ or error)
            if known and not isinstance(error.__cause__, REJECTIONS):
                where = f"{self.config.name} with {_format(selection)}"
                raise DataError(f"data.name: cannot open {where}: {reason}") from error
        except DataError:
            if known:
                raise
            return None
        reasons.append(f"there is no set with {_format(selection)}: {reason}")
        return None

    def _make(self, selection: Mapping[str, Any]) -> Any:
        name = self.config.name
        dataset = call("data", self.factory, {**self.given, **selection}, self.config.arguments)
        if isinstance(dataset, IterableDataset):
            read = read_stream(dataset, name, self.config.limit, self.report)
            self.notes.append(describe_stream(name, len(read), self.config.limit))
            return read
        if isinstance(dataset, tuple | list) and any(isinstance(each, Dataset) for each in dataset):
            raise ComponentError(
                f"data.name: {name} returns {len(dataset)} datasets; let it take an argument such as split, "
                'and return one of them: "train", "val" or "test"'
            )
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            raise ComponentError(
                f"data.name: {name} returns an object of type {type(dataset).__name__}; a dataset with "
                "__getitem__ and __len__ is needed"
            )
        return dataset

    def _wrap(self, dataset: Any) -> BaseDataset:
        """Wrap a dataset; the classes of the first one, the training set, are those of all."""
        config = self.config
        if type(dataset) is TensorDataset and len(dataset.tensors) == 2 and len(dataset):
            inputs, targets = plain_tensor(dataset.tensors[0]), plain_tensor(dataset.tensors[1], targets=True)
            # Features keep their digits until they are normalized; see feature_scaling.py.
            precise = inputs.dtype == torch.float64 and inputs.ndim == 2
            return InMemoryDataset(inputs if precise else compact(inputs, samples=True), targets)
        skipped = config.max_corrupt if config.on_corrupt == "skip" else 0
        # It may draw random numbers, so its samples cannot be read once and kept.
        wrapped = wrap_dataset(
            dataset,
            config.name,
            self.report,
            fixed=False,
            max_unreadable=skipped,
            classes=self.names or None,
        )
        self.names = self.names or wrapped.class_names
        self.notes += wrapped.notes
        return wrapped.dataset


def _format(selection: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in selection.items())


def _normalizes(dataset: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether a dataset has a transform that normalizes: an attribute, or a variable of its module."""
    attributes = [] if isinstance(dataset, torch.Tensor) else list(getattr(dataset, "__dict__", {}).values())
    get = getattr(type(dataset), "__getitem__", None)
    if isinstance(get, FunctionType):
        attributes += [get.__globals__.get(name) for name in get.__code__.co_names]
    if any(normalizes(value) for value in attributes):
        return True
    inner = [dataset.dataset] if hasattr(dataset, "dataset") else getattr(dataset, "datasets", [])
    return depth > 0 and isinstance(inner, Sequence) and any(_normalizes(each, depth - 1) for each in inner)
