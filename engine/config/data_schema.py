"""The schema of `[data]`: the dataset, how it is split, and how batches are made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from torchconsole.engine.config.section import Component, Count, Fraction, NonNegative, Section


class TransformConfig(Component):
    """A transform of torchvision.transforms.v2."""


class TargetTransformConfig(Component):
    """A function of torch, such as log1p, or user code: what it returns for a target takes its place."""


class TransformsConfig(Section):
    """Transforms of the inputs, applied in order; images only."""

    train: list[TransformConfig] = Field(default=[], description="for training, including random ones")
    val: list[TransformConfig] = Field(default=[], description="for validation, test and prediction")
    batch: list[TransformConfig] = Field(
        default=[], description="MixUp or CutMix for training batches; one of several is drawn per batch"
    )


class NormalizeConfig(Section):
    """Mean and standard deviation of each channel or feature."""

    mean: list[float] = Field(description="mean of each channel or feature; images are scaled to 0 to 1")
    std: list[Annotated[float, Field(gt=0)]] = Field(description="standard deviation of each")


class TargetScaleConfig(Section):
    """Mean and standard deviation of each target column."""

    mean: list[float] = Field(description="mean of each column")
    std: list[Annotated[float, Field(gt=0)]] = Field(description="standard deviation of each column")


class DataConfig(Component):
    """The dataset, how it is split and how batches are made. Further keys are arguments of the dataset."""

    name: str = Field(min_length=1, description="dataset name, package.module:Thing or file.py:Thing")
    root: str | None = Field(default=None, description="folder or file of the dataset")
    download: bool = Field(default=False, description="download the dataset if it is missing")
    task: Literal["auto", "multiclass", "binary", "multilabel", "regression"] = Field(
        default="auto", description="kind of target; auto infers it from the targets"
    )
    batch_size: int = Field(default=32, ge=1, description="samples per training batch")
    eval_batch_size: int | None = Field(
        default=None, ge=1, description="samples per evaluation batch; default: 8 times batch_size"
    )
    val_split: Fraction | Count = Field(
        default=0.2, description="fraction or number of samples to validate on if the dataset has no such set"
    )
    test_split: Fraction | Count | None = Field(
        default=None, description="fraction or number of samples to test on; default: no test set"
    )
    stratify: bool = Field(default=True, description="keep the proportions of the classes in every split")
    normalize: Literal["auto", "none"] | NormalizeConfig = Field(
        default="auto", description="mean and std of the inputs; auto measures them on the training set"
    )
    scale_target: Literal["auto"] | bool | TargetScaleConfig = Field(
        default="auto",
        description="standardize regression targets by the training set, for the loss alone; auto: not for "
        "PoissonNLLLoss and losses from user code",
    )
    transforms: TransformsConfig = TransformsConfig()
    target_transform: TargetTransformConfig | None = None
    sampler: Literal["shuffle", "balanced"] = Field(
        default="shuffle", description="balanced draws every class equally often, with replacement"
    )
    drop_last: bool = Field(default=False, description="drop the last batch if it is not full")
    in_memory: Literal["auto"] | bool = Field(
        default="auto",
        description="keep the training samples in memory; auto does so if half of the free memory is enough",
    )
    num_workers: Literal["auto"] | NonNegative = Field(
        default="auto",
        description="data loader workers for data not held in memory; auto uses those that help, 0 uses none",
    )
    on_corrupt: Literal["fail", "skip"] = Field(
        default="fail", description="unreadable samples: fail ends the run, skip uses the next sample"
    )
    max_corrupt: int = Field(default=100, ge=1, description="number of unreadable samples that skip accepts")
    loader_timeout: float = Field(
        default=300.0, gt=0, description="longest wait for a batch from a data loader worker (seconds)"
    )
    pin_memory: bool | None = Field(
        default=None, description="put batches in page-locked memory; default: on CUDA"
    )
    limit: int | None = Field(default=None, ge=1, description="training samples to use; default: all")
    overfit_batches: int | None = Field(
        default=None,
        ge=1,
        description="train and validate on this many batches only, to test that the model can overfit",
    )
