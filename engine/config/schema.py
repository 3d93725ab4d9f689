"""The preset: typed sections, each field with its sentence. Unknown keys are errors."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Component(BaseModel):
    """A thing of torch named as torch names it; every further key is an argument of its constructor.

    `name` may also be the user's own: "package.module:Thing" or "path/to/file.py:Thing".
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    name: str = Field(min_length=1, description="the class's name, or package.module:Thing, or file.py:Thing")

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the constructor."""
        return dict(self.model_extra or {})


class TransformConfig(_Component):
    """One transform of torchvision.transforms.v2."""


class TransformsConfig(_Section):
    """What happens to an input before the model sees it, in order; images only."""

    train: list[TransformConfig] = Field(default=[], description="for training, random ones included")
    val: list[TransformConfig] = Field(default=[], description="for validation, test and prediction")
    batch: list[TransformConfig] = Field(
        default=[], description="MixUp or CutMix on whole training batches; of several, one drawn for each"
    )


class NormalizeConfig(_Section):
    """Mean and standard deviation per channel, or per feature, given by hand."""

    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]


class DataConfig(_Component):
    """Where the samples come from and how they are split and batched. Further keys are the data set's own."""

    name: str = Field(min_length=1, description="the data set's name")
    root: str | None = Field(default=None, description="the folder or file it lies in, where it lies in one")
    download: bool = Field(default=False, description="fetch it when it is not there")
    task: Literal["auto", "multiclass", "binary", "multilabel", "regression"] = Field(
        default="auto", description="what kind of target it has; found out from the targets by auto"
    )
    batch_size: int = Field(default=32, ge=1, description="samples per training step")
    eval_batch_size: int | None = Field(
        default=None, ge=1, description="samples per evaluation batch; larger than batch_size when left out"
    )
    val_split: Fraction | Count = Field(
        default=0.2, description="validation part, as a fraction or a count, where the data brings none"
    )
    test_split: Fraction | Count | None = Field(
        default=None, description="test part, as a fraction or a count; none when left out"
    )
    stratify: bool = Field(default=True, description="keep the classes' proportions in every part")
    normalize: Literal["auto", "none"] | NormalizeConfig = Field(
        default="auto", description="auto measures mean and deviation over the training part"
    )
    transforms: TransformsConfig = TransformsConfig()
    sampler: Literal["shuffle", "balanced"] = Field(
        default="shuffle", description="balanced draws each class equally often, with replacement"
    )
    drop_last: bool = Field(default=False, description="leave out a last batch that is not full")
    in_memory: Literal["auto"] | bool = Field(
        default="auto", description="read every sample once and keep it; auto does so where they fit"
    )
    num_workers: int = Field(default=0, ge=0, description="loader processes, for data that is not in memory")
    on_corrupt: Literal["fail", "skip"] = Field(
        default="fail",
        description="a sample that cannot be read ends the run, or the next one stands in",
    )
    max_corrupt: int = Field(default=100, ge=1, description="samples that skip may pass over at most")
    loader_timeout: float = Field(
        default=300.0,
        gt=0,
        description="seconds without a batch after which a loader process is taken to hang",
    )
    pin_memory: bool | None = Field(default=None, description="page-locked batches; on CUDA when left out")
    limit: int | None = Field(default=None, ge=1, description="take only the first so many training samples")
    overfit_batches: int | None = Field(
        default=None,
        ge=1,
        description="train and validate on these few batches: a model must learn them by heart",
    )


class InitRule(_Section):
    """How the parameters of some layers are drawn: a function of torch.nn.init."""

    init: str = Field(
        min_length=1, description="kaiming_normal_, xavier_uniform_, orthogonal_, constant_, ..."
    )
    layers: list[str] = Field(default=[], description="layer types such as Conv2d; all when left out")
    parameters: str = Field(
        default="weight", description="name pattern of the parameters, e.g. weight or weight_hh*"
    )
    args: dict[str, Any] = Field(default={}, description="further arguments of the function")


class ModelConfig(_Component):
    """The network. Input shape and number of classes come from the data unless given here."""

    weights: str | None = Field(
        default=None, description="torchvision's name of weights, a local file, or a checkpoint's folder"
    )
    strict: bool = Field(default=True, description="false: load of the weights what fits, and tell the rest")
    rename: dict[str, str] = Field(
        default={}, description='prefixes of names in the weights, old to new: {"backbone." = ""}'
    )
    freeze: list[str] = Field(default=[], description="name patterns of parameters that are not trained")
    unfreeze_at_epoch: int | None = Field(
        default=None, ge=1, description="after so many epochs all are trained"
    )
    init: list[InitRule] = Field(default=[], description="applied in order, before weights are loaded")


class LossConfig(_Component):
    """The loss function, a class of torch.nn; by default the one for the task."""

    name: str = Field(
        default="auto", min_length=1, description="a loss class of torch.nn; auto goes by the task"
    )
    weight: Literal["balanced"] | list[float] | None = Field(
        default=None, description="class weights: a list, or balanced from the training part"
    )
    factor: float = Field(default=1.0, gt=0, description="its share where several losses are added")
    also: list[LossConfig] = Field(
        default=[], description="further losses that are added, each with its factor"
    )
    l1: float = Field(default=0.0, ge=0, description="penalty on the sum of absolute weights")
    l2: float = Field(default=0.0, ge=0, description="penalty on half the sum of squared weights")


class GroupConfig(BaseModel):
    """Parameters whose names match, with their own lr and other arguments of the optimizer."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    match: list[str] = Field(min_length=1, description="name patterns, e.g. backbone.* or *.bias")
    lr: float | None = Field(default=None, gt=0, description="learning rate of these parameters")

    @property
    def arguments(self) -> dict[str, Any]:
        """What differs from the optimizer's own arguments."""
        own = {} if self.lr is None else {"lr": self.lr}
        return {**own, **(self.model_extra or {})}


class OptimizerConfig(_Component):
    """The optimizer, a class of torch.optim."""

    name: str = Field(default="AdamW", min_length=1, description="a class of torch.optim")
    lr: float = Field(default=1e-3, gt=0, description="learning rate before the schedule")
    decay_norm_and_bias: bool = Field(
        default=True, description="false: no weight decay on biases and normalisation layers"
    )
    groups: list[GroupConfig] = Field(default=[], description="parameters with arguments of their own")

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the constructor, lr among them."""
        return {"lr": self.lr, **super().arguments}


class ScheduleConfig(_Component):
    """One part of the learning-rate schedule, a class of torch.optim.lr_scheduler or `Table`."""

    interval: Literal["step", "epoch"] = Field(default="step", description="how often it is stepped")
    until: int | None = Field(
        default=None, ge=1, description="where the next part takes over, counted in `interval` from the start"
    )
    monitor: str = Field(default="val/loss", description="the metric that ReduceLROnPlateau goes by")


class MetricConfig(_Component):
    """A metric of torchmetrics, logged as val/<key> where `key` is its name in snake case unless given."""

    key: str | None = Field(default=None, description="what it is called in the logs")


class EarlyStoppingConfig(_Section):
    """Stop when a metric has not improved for a while."""

    monitor: str = Field(default="val/loss", description="the metric to watch")
    mode: Literal["min", "max"] | None = Field(
        default=None, description="whether lower or higher is better; the metric knows when left out"
    )
    patience: int = Field(default=7, ge=1, description="evaluations without improvement before the run ends")
    min_delta: float = Field(default=0.0, ge=0, description="an improvement must be larger than this")
    restore_best: bool = Field(default=False, description="end the run with the weights of its best step")


class EmaConfig(_Section):
    """An exponential moving average of the weights, evaluated and saved beside them."""

    decay: float = Field(default=0.999, gt=0, lt=1, description="share of the old average at each step")


class CheckpointConfig(_Section):
    """When checkpoints are written and which are kept. The best and the hand-saved ones always are."""

    keep: int = Field(default=2, ge=-1, description="newest checkpoints kept; -1 keeps all")
    save_every_minutes: float = Field(default=1.0, gt=0, description="minutes between checkpoints")
    save_every_steps: int | None = Field(
        default=None, ge=1, description="also at every step that is a multiple of this"
    )


class TrainingConfig(_Section):
    """The loop."""

    epochs: int = Field(default=10, ge=1, description="passes over the training data")
    max_steps: int | None = Field(default=None, ge=1, description="end after so many optimizer steps")
    max_minutes: float | None = Field(default=None, gt=0, description="end after so many minutes of training")
    seed: int = Field(
        default=42, ge=0, lt=2**63, description="fixes split, order, initialisation and dropout"
    )
    deterministic: bool = Field(
        default=False, description="only algorithms of torch that give the same bits each time"
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, mps, cuda or cuda:N"
    )
    precision: Precision = Field(
        default="auto", description="auto is bf16 on GPUs that are made for it, fp32 on others and on the CPU"
    )
    compile: bool = Field(default=False, description="compile the model with torch.compile")
    channels_last: bool | None = Field(
        default=None,
        description="channels last in memory; when left out, for convolutions that allow it",
    )
    threads: Literal["auto"] | Count = Field(
        default="auto",
        description="torch's CPU threads; auto tries fewer than all where a step is short",
    )
    grad_accum_steps: int = Field(default=1, ge=1, description="batches whose gradients make one step")
    clip_norm: float | None = Field(default=None, gt=0, description="largest norm of all gradients together")
    clip_value: float | None = Field(default=None, gt=0, description="largest absolute value of a gradient")
    nonfinite: Literal["stop", "skip"] = Field(
        default="stop", description="a loss that is nan or inf ends the run, or its step is left out"
    )
    eval_every: int = Field(default=1, ge=1, description="`eval_interval`s between evaluations")
    eval_interval: Literal["step", "epoch"] = Field(default="epoch", description="what eval_every counts")
    log_every: int | None = Field(
        default=None, ge=1, description="steps between logged metrics; a hundredth of an epoch when left out"
    )


class Preset(_Section):
    """One training, completely described."""

    title: str = Field(min_length=1, description="one line for the menu")
    description: str = Field(default="", description="two sentences: what it does and what it teaches")
    needs: str = Field(default="", description="what the menu says it needs: downloads, a GPU, minutes")
    group: str = Field(default="", description="the menu's heading for it; under Your own when left out")
    data: DataConfig
    model: ModelConfig
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: list[ScheduleConfig] = []
    metrics: list[MetricConfig] | None = Field(default=None, description="the task's own when left out")
    early_stopping: EarlyStoppingConfig | None = None
    ema: EmaConfig | None = None
    checkpoint: CheckpointConfig = CheckpointConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _parts_hand_over(self) -> Preset:
        """Every part of the schedule but the last must say until when it lasts."""
        for number, part in enumerate(self.schedule[:-1], start=1):
            if part.until is None:
                raise ValueError(
                    f"schedule part {number} ({part.name}) needs `until`, since another part follows"
                )
        for number, (part, following) in enumerate(itertools.pairwise(self.schedule), start=1):
            same = part.interval == following.interval
            if same and following.until is not None and following.until <= (part.until or 0):
                raise ValueError(
                    f"schedule part {number + 1} ({following.name}) ends at {following.until}, before it "
                    f"takes over at {part.until}: `until` counts from the start of the run"
                )
        return self
