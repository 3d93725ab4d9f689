"""CSV files: columns as targets, numbers or categories, and the handling of missing values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import InMemoryDataset, Splits
from torchconsole.engine.components.data.types import TaskType
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.config.data_location import data_file
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import did_you_mean

SEPARATORS = ",;\t|"

MAX_CLASSES = 20
"""Up to this many distinct labels are classes; more only if each has ROWS_PER_CLASS rows on average."""

ROWS_PER_CLASS = 10


@dataclass(frozen=True)
class CSV:
    """A file of comma-separated values with a header; other separators are detected from the header."""

    target: str | Sequence[str]
    """The column, or columns, to predict."""
    features: Sequence[str] | None = None
    """The columns to predict from; all others by default."""
    categorical: Sequence[str] = ()
    """Columns of numbers that are categories, as columns of text always are; one input per category."""
    missing: str = "error"
    """Handling of missing feature values: error; drop (leave out the row); mean (of the training set)."""

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown policy, and for columns that are not a list of names."""
        for key, given in (
            ("target", self.targets),
            ("features", self.features),
            ("categorical", self.categorical),
        ):
            is_list = isinstance(given, list | tuple) and all(isinstance(name, str) for name in given)
            if given is not None and not is_list:
                raise ValueError(f"{key} must be a list of column names, not {given!r}")
        if not self.targets:
            raise ValueError("target must name at least one column")
        if self.missing not in ("error", "drop", "mean"):
            raise ValueError(f"missing must be error, drop or mean, not {self.missing!r}")

    @property
    def targets(self) -> list[str]:
        """The target columns as a list."""
        return list(self.target) if isinstance(self.target, list | tuple) else [self.target]  # type: ignore[list-item]


def open_csv(config: DataConfig, report: ReportPhase) -> Splits:
    """Open the file `data.root`. Raises DataError for columns that are missing or cannot be used."""
    options: CSV = call("data", CSV, {}, config.arguments)
    path = data_file(config.name, config.root)
    frame = _read(path)
    features = options.features
    features = (
        [name for name in frame.columns if name not in options.targets] if features is None else features
    )
    categorical = list(options.categorical)
    columns = {"target": options.targets, "features": list(features), "categorical": categorical}
    _check_columns(frame, columns, path.name)
    frame, note = _handle_missing(frame, options.targets, features, options.missing, path.name)
    inputs, unscaled = _encode_features(frame, features, categorical, path.name)
    task = None if config.task == "auto" else config.task
    targets, names = _encode_targets(frame[options.targets], task, path.name)
    return Splits(
        InMemoryDataset(torch.from_numpy(inputs), targets),
        class_names=names,
        unscaled=torch.from_numpy(unscaled),
        fill_missing=options.missing == "mean",
        notes=[note] if note else [],
    )


SOURCES = {"CSV": open_csv}


def _read(path: Path) -> Any:
    import pandas

    try:
        with path.open(encoding="utf-8") as file:
            header = file.readline()
        frame = pandas.read_csv(path, sep=max(SEPARATORS, key=header.count), skipinitialspace=True)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"data: {path} cannot be read as CSV: {reason}") from error
    if frame.empty:
        raise DataError(f"data: {path} has no rows")
    return frame


def _check_columns(frame: Any, columns: Mapping[str, Sequence[str]], file: str) -> None:
    """Raise DataError for names that are not columns, and for features that are also targets."""
    for key, names in columns.items():
        for name in names:
            if name not in frame.columns:
                suggestion = did_you_mean(name, map(str, frame.columns))
                raise DataError(f"data.{key}: {file} has no column {name!r}{suggestion}")
    if not columns["features"]:
        raise DataError(f"data.features: {file} has no columns other than the target")
    if both := set(columns["target"]) & set(columns["features"]):
        raise DataError(f"data.features: {min(both)!r} is also a target; remove it from one of them")
    if unknown := set(columns["categorical"]) - set(columns["features"]):
        raise DataError(
            f"data.categorical: {min(unknown)!r} is not a feature; add it to data.features, or remove it"
        )


def _handle_missing(
    frame: Any, targets: Sequence[str], features: Sequence[str], policy: str, file: str
) -> tuple[Any, str]:
    """Return the rows to use, and a note on what was done. Raises DataError if `policy` does not allow it."""
    used = frame[[*targets, *features]]
    missing = used.isna()
    if not missing.to_numpy().any():
        return used, ""
    rows = missing.any(axis=1)
    if policy == "drop":
        if rows.all():
            raise DataError(
                f"data.missing: 'drop' leaves no rows, because each of the {len(used):,} rows of {file} has "
                "missing values; set it to 'mean', or leave columns out of data.features"
            )
        return used[~rows], f"{int(rows.sum()):,} of {len(used):,} rows have missing values and are left out"
    for name in list(targets) if policy == "mean" else [*targets, *features]:
        if missing[name].any():
            # The header is line 1.
            line = int(np.flatnonzero(missing[name])[0]) + 2
            advice = "'drop'" if name in targets else "'drop' or 'mean'"
            count = int(missing[name].sum())
            raise DataError(
                f"data: {file} has {count:,} missing value{'s' * (count > 1)} in column {name!r}, the first "
                f"in line {line}; set data.missing to {advice}"
            )
    if empty := [name for name in features if missing[name].all()]:
        raise DataError(f"data: column {empty[0]!r} of {file} has no values; leave it out of data.features")
    note = "rows have missing values, filled with the mean of the training set"
    return used, f"{int(rows.sum()):,} of {len(used):,} {note}"


def _encode_features(
    frame: Any, features: Sequence[str], categorical: Sequence[str], file: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the features (N, F) float32 and which of them are zeros and ones, (F,) bool.

    Numbers come first, in their order, nan if missing; then one column per category. Raises DataError for
    infinite numbers.
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
            f"data: column {name!r} of {file} has values that are infinite or too large for a 32-bit "
            "number; remove or rescale them"
        )
    categories = [_one_hot(frame[name], name, len(frame)) for name in features if name not in numeric]
    inputs = np.concatenate([numbers, *categories], axis=1)
    return inputs, np.arange(inputs.shape[1]) >= len(numeric)


def _one_hot(column: Any, name: str, rows: int) -> np.ndarray[Any, Any]:
    """Return one column per category, all zero if the value is missing. Raises DataError for too many."""
    import pandas

    categories = column.nunique()
    if categories > max(MAX_CLASSES, rows / ROWS_PER_CLASS):
        raise DataError(
            f"data.features: column {name!r} has {categories:,} different values in {rows:,} rows, too many "
            "for categories; leave it out of data.features if it only identifies the row"
        )
    return np.asarray(pandas.get_dummies(column).to_numpy(dtype=np.float32))


def _encode_targets(frame: Any, task: TaskType | None, file: str) -> tuple[Tensor, list[str]]:
    """Return the targets (N,) or (N, K), and the class names: the labels, or the columns if several.

    Text and whole numbers are labels unless `task` is regression; fractions only if `task` is another one.
    Raises DataError for text where numbers are needed, and for more labels than can be classes.
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
    if task is None and len(labels) > max(MAX_CLASSES, len(column) / ROWS_PER_CLASS):
        raise DataError(
            f"data.target: column {column.name!r} of {file} has {len(labels):,} different values in "
            f"{len(column):,} rows; set data.task to 'regression', or to 'multiclass' if they are classes"
        )
    return torch.from_numpy(np.searchsorted(labels, column.to_numpy())), [str(label) for label in labels]


def _numbers(columns: Any) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = columns.to_numpy()
    return values.astype(np.int64 if values.dtype.kind in "bi" else np.float32)
