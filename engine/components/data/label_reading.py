"""Reads the targets that belong to inputs of a trained model: from folders, a table or an archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.input_description import InputDescription
from torchconsole.engine.components.data.sources import arrays, tables
from torchconsole.engine.components.data.sources.text_columns import reads_texts, text_options
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.reading import read_table
from torchconsole.engine.components.data.tables.target_columns import encode_targets
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import did_you_mean

MOST_NAMES = 8
"""Classes that a message names."""


class LabelReader:
    """Reads targets in the form that `TaskType` describes, with the labels that the classes have in a run."""

    def __init__(self, root: Path, description: InputDescription, config: DataConfig) -> None:
        """Raises DataError if the run's targets cannot be read from other files."""
        if description.target_transform:
            raise DataError(
                f"targets of this run cannot be read from other files: {description.target_transform} "
                "(data.target_transform) changes them"
            )
        self._root = root
        self._description = description
        self._config = config

    def read(self, file: Path) -> Tensor:
        """Return the targets of the inputs in a file, (N,) or (N, K). Raises DataError."""
        if self._config.name in tables.OPTIONS:
            return self._of_table(file)
        if self._description.kind == "arrays":
            return self._converted(arrays.read_targets(file, self._config), file)
        return self._converted(torch.tensor([self._of_folder(file)]), file)

    def _of_folder(self, file: Path) -> int:
        """Return the label of the class whose folder a file is in."""
        parts = file.relative_to(self._root).parts
        if len(parts) < 2:
            raise DataError(
                f"{file.name} is not in a folder of a class; name a folder that has a folder for each class: "
                f"{self._known()}"
            )
        return self._label(parts[0], f"folder {parts[0]}")

    def _of_table(self, file: Path) -> Tensor:
        options = self._table_options()
        table = read_table(file, options)
        names = list(map(str, table.frame.columns))
        for name in options.targets:
            if name not in names:
                raise DataError(f"{file.name} has no column {name!r}{did_you_mean(name, names)}")
        found = encode_targets(table, options, self._description.task)
        if (gaps := found.gaps.reshape(len(found.values), -1).any(axis=1)).any():
            where = table.locate(int(np.flatnonzero(gaps)[0]))
            raise DataError(f"{file.name} has no target in {where}; fill it in, or remove the row")
        if found.values.dtype.kind != "f":
            labels = np.array([self._label(name, f"class {name!r}") for name in found.class_names])
            return self._converted(torch.from_numpy(labels[found.values]), file)
        return self._converted(torch.from_numpy(found.values), file)

    def _table_options(self) -> TableOptions:
        kind = tables.OPTIONS[self._config.name]
        if reads_texts(self._config):
            return text_options(kind, self._config)[1]
        options: TableOptions = call("data", kind, {}, self._config.arguments)
        return options

    def _label(self, name: str, what: str) -> int:
        classes: Sequence[str] = self._description.classes
        if name not in classes:
            raise DataError(f"{what} is none of the run's classes{did_you_mean(name, classes)}")
        return classes.index(name)

    def _known(self) -> str:
        classes = self._description.classes
        return ", ".join(classes[:MOST_NAMES]) + ", ..." * (len(classes) > MOST_NAMES)

    def _converted(self, values: Tensor, file: Path) -> Tensor:
        """Return numbers (N,) or (N, K) as targets. Raises DataError for those that do not fit the run's."""
        task, outputs = self._description.task, self._description.outputs
        rows = values.reshape(len(values), -1)
        if task == "multiclass":
            labels = rows.argmax(dim=1) if rows.shape[1] == outputs > 1 else rows.flatten()
            if len(labels) != len(rows) or (labels != labels.long()).any() or not self._are_labels(labels):
                raise DataError(f"the targets of {file.name} are no labels from 0 to {outputs - 1}")
            return labels.long()
        if rows.shape[1] != outputs:
            raise DataError(f"{file.name} has {rows.shape[1]} targets for each sample; the run has {outputs}")
        if not rows.double().isfinite().all():
            raise DataError(f"{file.name} has targets that are not finite numbers")
        scale = self._description.target_scale
        if task == "regression" and scale is not None:
            mean, std = (torch.tensor(each, dtype=torch.float64) for each in (scale.mean, scale.std))
            return rows.double().sub(mean).div(std).float()
        if task != "regression" and not ((rows == 0) | (rows == 1)).all():
            raise DataError(f"the labels of {file.name} are not 0 or 1")
        return rows.float()

    def _are_labels(self, labels: Tensor) -> bool:
        return bool(((labels >= 0) & (labels < self._description.outputs)).all())
