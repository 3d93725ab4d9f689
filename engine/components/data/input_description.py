"""What turns a file or a row into an input of a trained model, and its outputs into predictions.

It comes from the resolved preset and the record of the data, which each checkpoint has, so that it can be
read without the data.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import BaseModel

from torchconsole.engine.components.data.data_record import DataRecord, FeatureRecord
from torchconsole.engine.components.data.sources import arrays, folders, tables, text_columns, text_files
from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.config.data_schema import (
    DataConfig,
    NormalizeConfig,
    TargetScaleConfig,
    TransformConfig,
)
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import DataError

Kind = Literal["images", "table", "arrays", "texts"]


class InputDescription(BaseModel):
    """How inputs are read and prepared, in the order of the fields, and what the outputs mean."""

    kind: Kind
    source: str
    """`data.name`."""
    arguments: dict[str, Any]
    """The further keys of `data`: how a table is read, the names of arrays, or the vocabulary of texts."""
    deep_images: bool = False
    features: list[FeatureRecord] = []
    """Columns of a table, in order: the model gets numbers and dates first, then zeros and ones."""
    fills: list[float] = []
    """What replaces missing numbers of a table; empty if nothing does."""
    transforms: list[TransformConfig] = []
    """`data.transforms.val`."""
    normalize: NormalizeConfig | Literal["auto", "none"]
    """Mean and std of each channel or feature; not normalized otherwise. Bytes are scaled to 0 to 1."""
    input_shape: list[int]
    """Shape of an input in training."""
    task: TaskType
    outputs: int
    classes: list[str]
    targets: list[str] = []
    """The target columns of a table."""
    target_scale: TargetScaleConfig | None = None
    """Multiply outputs by its std and add its mean to get the targets' unit."""
    target_transform: str | None = None
    """The function that was applied to the targets, and so is in the predictions."""

    @property
    def has_images(self) -> bool:
        """Whether the inputs are images (C, H, W)."""
        return self.kind in ("images", "arrays") and len(self.input_shape) == 3

    @property
    def spec(self) -> DataSpec:
        """What the model must have been built for, but for the size of a vocabulary."""
        whole = self.kind == "arrays" and self.normalize == "none"
        return DataSpec(
            task=self.task,
            input_shape=tuple(self.input_shape),
            num_outputs=self.outputs,
            class_names=self.classes,
            input_dtype=torch.int64 if whole or self.kind == "texts" else torch.float32,
            target_scale=self.target_scale,
        )

    def value_names(self, count: int) -> list[str]:
        """Return the names of the `count` values of a regression; none for classes."""
        if self.task != "regression":
            return []
        return self.targets or [f"target {number}" for number in range(1, count + 1)]


def why_not_described(config: DataConfig) -> str:
    """Return why inputs of a dataset cannot be read from other files; empty if they can be."""
    if is_user_code(config.name):
        return f"{config.name} is your own code, which decides how a sample is read"
    if config.name == "DatasetFolder" and config.arguments.get("loader"):
        return "data.loader is your own code, which decides how a sample is read"
    return ""


def describe_inputs(config: DataConfig, record: DataRecord) -> InputDescription:
    """Describe the inputs of a run with this resolved data section and record.

    Raises DataError for a dataset whose samples cannot be read from other files.
    """
    if why := why_not_described(config):
        raise DataError(
            f"predict cannot read inputs of this run: {why}; load the model in Python instead (torchconsole "
            "export RUN writes its weights)"
        )
    kind = _kind(config)
    targets: Any = config.arguments.get("target", []) if config.name in tables.OPTIONS else []
    targets = [targets] if isinstance(targets, str) else list(targets)
    scale = config.scale_target if isinstance(config.scale_target, TargetScaleConfig) else None
    return InputDescription(
        kind=kind,
        source=config.name,
        arguments=config.arguments,
        deep_images=record.deep_images,
        features=record.features,
        fills=record.fills,
        transforms=config.transforms.val,
        normalize=config.normalize,
        input_shape=record.input_shape,
        task=record.task,
        outputs=record.num_outputs or _outputs(record, targets, scale),
        classes=record.classes,
        targets=targets,
        target_scale=scale,
        target_transform=config.target_transform.name if config.target_transform else None,
    )


def _kind(config: DataConfig) -> Kind:
    if config.name in tables.OPTIONS:
        return "texts" if text_columns.reads_texts(config) else "table"
    if config.name in text_files.SOURCES:
        return "texts"
    if config.name in {**arrays.FILES, **arrays.BUNDLED} and config.name not in folders.SOURCES:
        return "arrays"
    return "images"


def _outputs(record: DataRecord, targets: list[str], scale: TargetScaleConfig | None) -> int:
    """Return the number of outputs for a record of an older version, which does not have it."""
    if record.task == "binary":
        return 1
    return len(record.classes) or (len(scale.mean) if scale else len(targets)) or 1
