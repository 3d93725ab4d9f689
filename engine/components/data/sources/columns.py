"""From the columns of a table to numbers: features and categories, labels and amounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.types import TaskType
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import did_you_mean

FEW = 20
"""So many different labels are always taken for classes; more only where each has ROWS_PER_CLASS rows."""

ROWS_PER_CLASS = 10


def check_columns(frame: Any, wanted: Mapping[str, Sequence[str]], file: str) -> None:
    """Raises DataError for names that are no columns, and for features that are targets too."""
    for key, names in wanted.items():
        for name in names:
            if name not in frame.columns:
                raise DataError(
                    f"data.{key}: {file} has no column {name!r}{did_you_mean(name, map(str, frame.columns))}"
                )
    if not wanted["features"]:
        raise DataError(f"data.features: {file} has no column but the target")
    if both := set(wanted["target"]) & set(wanted["features"]):
        raise DataError(f"data.features: {min(both)!r} is the target")
    if foreign := set(wanted["categorical"]) - set(wanted["features"]):
        raise DataError(f"data.categorical: {min(foreign)!r} is not among the features")


def check_gaps(
    frame: Any, targets: Sequence[str], features: Sequence[str], policy: str, file: str
) -> tuple[Any, str]:
    """The rows that the policy leaves, and a sentence on what it did. Raises DataError for gaps otherwise."""
    used = frame[[*targets, *features]]
    gaps = used.isna()
    if not gaps.to_numpy().any():
        return used, ""
    rows = gaps.any(axis=1)
    if policy == "drop":
        if rows.all():
            raise DataError(f"data.missing: each of the {len(used):,} rows of {file} has a gap")
        return used[~rows], f"{int(rows.sum()):,} of {len(used):,} rows have gaps and are left out"
    columns = list(targets) if policy == "mean" else [*targets, *features]
    for name in columns:
        if gaps[name].any():
            # Line 1 has the names.
            line = int(np.flatnonzero(gaps[name])[0]) + 2
            advice = "'drop'" if name in targets else "'drop' or 'mean'"
            raise DataError(
                f"data: {file} has {int(gaps[name].sum()):,} missing values in column {name!r}, the first in "
                f"line {line}; set data.missing to {advice}"
            )
    empty = [name for name in features if gaps[name].all()]
    if empty:
        raise DataError(f"data: column {empty[0]!r} of {file} has no values; leave it out of data.features")
    return used, f"{int(rows.sum()):,} of {len(used):,} rows have gaps, filled with the training part's means"


def encode_features(
    frame: Any, features: Sequence[str], categorical: Sequence[str], file: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Features (N, F) float32 and which of them are zeros and ones, (F,) bool.

    Numbers come first, in their order, nan where missing; then one column for each category. Raises DataError
    for numbers that are infinite.
    """
    import pandas

    numeric = [
        name
        for name in features
        if name not in categorical and pandas.api.types.is_numeric_dtype(frame[name])
    ]
    with np.errstate(over="ignore"):
        numbers = frame[numeric].to_numpy(dtype=np.float32)
    infinite = np.isinf(numbers).any(axis=0)
    if infinite.any():
        name = numeric[int(infinite.argmax())]
        raise DataError(
            f"data: column {name!r} of {file} has values too large for a 32-bit number, or infinite"
        )
    categories = [_one_hot(frame[name], name, len(frame)) for name in features if name not in numeric]
    inputs = np.concatenate([numbers, *categories], axis=1)
    return inputs, np.arange(inputs.shape[1]) >= len(numeric)


def encode_targets(frame: Any, task: TaskType | None, file: str) -> tuple[Tensor, list[str]]:
    """Targets (N,) or (N, K), and the classes' names: the labels, or the columns where these are several.

    Text and whole numbers are labels unless `task` is regression, fractions only where `task` says so. Raises
    DataError for text where numbers are needed, and for more labels than could be classes.
    """
    import pandas

    text = [name for name in frame.columns if not pandas.api.types.is_numeric_dtype(frame[name])]
    if text and (task == "regression" or len(frame.columns) > 1):
        raise DataError(
            f"data.target: column {text[0]!r} of {file} is not numeric (its first value is "
            f"{frame[text[0]].iloc[0]!r}); {task or 'several targets'} need{'s' * bool(task)} numbers"
        )
    if len(frame.columns) > 1:
        return torch.from_numpy(_numbers(frame)), [str(name) for name in frame.columns]
    column = frame[frame.columns[0]]
    if task == "regression" or (task is None and pandas.api.types.is_float_dtype(column)):
        return torch.from_numpy(_numbers(column)), []
    labels = np.unique(column.to_numpy())
    if task is None and len(labels) > max(FEW, len(column) / ROWS_PER_CLASS):
        raise DataError(
            f"data.target: column {column.name!r} of {file} has {len(labels):,} different values in "
            f"{len(column):,} rows; set data.task to 'regression', or to 'multiclass' if they are classes"
        )
    return torch.from_numpy(np.searchsorted(labels, column.to_numpy())), [str(label) for label in labels]


def _numbers(columns: Any) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = columns.to_numpy()
    return values.astype(np.int64 if values.dtype.kind in "bi" else np.float32)


def _one_hot(column: Any, name: str, rows: int) -> np.ndarray[Any, Any]:
    """One column for each category, all zero in a gap. Raises DataError for text that is no category."""
    import pandas

    categories = column.nunique()
    if categories > max(FEW, rows / ROWS_PER_CLASS):
        raise DataError(
            f"data.features: column {name!r} has {categories:,} different values in {rows:,} rows; leave it "
            "out if it names the row"
        )
    return np.asarray(pandas.get_dummies(column).to_numpy(dtype=np.float32))
