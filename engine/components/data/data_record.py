"""What a run records about its data in each checkpoint: its classes, features and samples."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel

from torchconsole.engine.components.data.types import DataSpec


class FeatureRecord(BaseModel):
    """A column of a table that the model gets, with its categories in the order of the inputs."""

    name: str
    kind: Literal["numeric", "date", "categorical"]
    categories: list[str] = []
    unseen: list[str] = []
    """Categories that no training sample has: the model gets zeros for them."""


class SetRecord(BaseModel):
    """The samples of a set as the source has it, before anything is split off."""

    samples: int
    identity: str = ""
    """Digest of the targets and file names in order; empty for user code, which may draw its samples."""
    content: str = ""
    """Digest of the inputs that are in memory, or of their files, and, for user code, of the targets."""
    unordered: str = ""
    """Digest of the samples in memory in any order; empty for others, for large sets and for user code."""


class DataRecord(BaseModel):
    """What the outputs and inputs of a trained model mean, and which samples it was trained on."""

    task: str
    input_shape: list[int]
    classes: list[str]
    named_classes: bool = True
    """Whether the source has names for its classes; otherwise they are numbers."""
    features: list[FeatureRecord] = []
    """The columns of a table that the model gets, in the order of the inputs; empty for other data."""
    num_outputs: int = 0
    """Number of outputs for each sample; 0 in records of older versions."""
    fills: list[float] = []
    """What replaces missing numbers of a table, for each input that is a number; empty if nothing does."""
    deep_images: bool = False
    """Whether image files are decoded to float32, because some of them had more than 8 bits."""
    input_dtype: Literal["float32", "int64", ""] = ""
    """Type of the model's inputs; int64 are indices. Empty in records of older versions."""
    sets: dict[str, SetRecord] = {}
    """The sets that the source has: training, validation and test."""


def make_record(
    spec: DataSpec,
    *,
    named_classes: bool,
    features: list[FeatureRecord],
    fills: list[float],
    deep_images: bool,
    sets: dict[str, SetRecord],
) -> DataRecord:
    """Return the record of data with this `spec`."""
    return DataRecord(
        task=spec.task,
        input_shape=list(spec.input_shape),
        classes=spec.class_names,
        named_classes=named_classes,
        features=features,
        num_outputs=spec.num_outputs,
        fills=fills,
        deep_images=deep_images,
        input_dtype="int64" if spec.input_dtype == torch.int64 else "float32",
        sets=sets,
    )
