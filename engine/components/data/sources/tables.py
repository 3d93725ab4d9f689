"""CSV files: which columns are the target, which are numbers and which categories, and what a gap means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from torchconsole.engine.components.data.datasets import InMemoryDataset, Splits
from torchconsole.engine.components.data.sources.columns import (
    check_columns,
    check_gaps,
    encode_features,
    encode_targets,
)
from torchconsole.engine.components.data.sources.places import named_file
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase

SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class CSV:
    """A file of comma-separated values with a line of names; other separators are recognised by that line."""

    target: str | Sequence[str]
    """The column, or columns, to be predicted."""
    features: Sequence[str] | None = None
    """The columns to predict from; all others when left out."""
    categorical: Sequence[str] = ()
    """Columns of numbers that are categories, as columns of text always are; one input for each category."""
    missing: str = "error"
    """What a gap in a feature means: error; drop leaves out the row; mean takes the training part's mean."""

    def __post_init__(self) -> None:
        """Raises ValueError for a policy that there is not, and for columns that are no list of names."""
        for key, given in (
            ("target", self.targets),
            ("features", self.features),
            ("categorical", self.categorical),
        ):
            named = isinstance(given, list | tuple) and all(isinstance(name, str) for name in given)
            if given is not None and not named:
                raise ValueError(f"{key} must be a list of column names, not {given!r}")
        if not self.targets:
            raise ValueError("target names no column")
        if self.missing not in ("error", "drop", "mean"):
            raise ValueError(f"missing must be error, drop or mean, not {self.missing!r}")

    @property
    def targets(self) -> list[str]:
        """The target columns as a list."""
        return list(self.target) if isinstance(self.target, list | tuple) else [self.target]  # type: ignore[list-item]


def open_csv(config: DataConfig, report: ReportPhase) -> Splits:
    """The samples of the file `data.root`. Raises DataError for columns that are not there or not usable."""
    options: CSV = call("data", CSV, {}, config.arguments)
    path = named_file(config)
    frame = _read(path)
    features = list(options.features) if options.features is not None else _others(frame, options)
    categorical = list(options.categorical)
    check_columns(
        frame, {"target": options.targets, "features": features, "categorical": categorical}, path.name
    )
    frame, note = check_gaps(frame, options.targets, features, options.missing, path.name)
    inputs, unscaled = encode_features(frame, features, categorical, path.name)
    task = None if config.task == "auto" else config.task
    targets, names = encode_targets(frame[options.targets], task, path.name)
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


def _others(frame: Any, options: CSV) -> list[str]:
    return [name for name in frame.columns if name not in options.targets]
