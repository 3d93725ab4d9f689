"""The small datasets that come with scikit-learn and need no download."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from torchconsole.engine.components.data.datasets import InMemoryDataset, Splits
from torchconsole.engine.components.data.types import TaskType
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.protocol.events import ReportPhase

PIXEL_MAX = 16
"""The pixels of the digits are counts from 0 to 16."""


def digits() -> Splits:
    """1,797 handwritten digits as images (1, 8, 8) from 0 to 1 (UCI ML hand-written digits, test part)."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / PIXEL_MAX
    dataset = InMemoryDataset(images, torch.from_numpy(bunch.target))
    return Splits(dataset, task="multiclass", class_names=[str(name) for name in bunch.target_names])


def iris() -> Splits:
    """150 flowers of 3 species, 4 lengths each (Fisher 1936)."""
    from sklearn.datasets import load_iris

    return _table(load_iris(), "multiclass")


def wine() -> Splits:
    """178 wines of 3 growers, 13 chemical measurements each (UCI)."""
    from sklearn.datasets import load_wine

    return _table(load_wine(), "multiclass")


def breast_cancer() -> Splits:
    """569 biopsies, malignant (0) or benign (1), 30 measurements each (UCI, Wisconsin diagnostic)."""
    from sklearn.datasets import load_breast_cancer

    return _table(load_breast_cancer(), "binary")


def diabetes() -> Splits:
    """442 patients, 10 measurements each, and the progression of the disease after a year, 25 to 346."""
    from sklearn.datasets import load_diabetes

    return _table(load_diabetes(), "regression")


def _table(bunch: Any, task: TaskType) -> Splits:
    dataset = InMemoryDataset(torch.from_numpy(bunch.data).float(), torch.from_numpy(bunch.target))
    names = [] if task == "regression" else [str(name) for name in bunch.target_names]
    return Splits(dataset, task=task, class_names=names)


def _open(load: Callable[[], Splits], config: DataConfig, report: ReportPhase) -> Splits:
    splits: Splits = call("data", load, {}, config.arguments)
    return splits


SOURCES = {load.__name__: partial(_open, load) for load in (digits, iris, wine, breast_cancer, diabetes)}
"""By the name that scikit-learn uses."""
