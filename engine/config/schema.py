"""The schema of a preset: typed sections, and a description of each key. Unknown keys are errors."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.config.schedule_units import CHAINED, LENGTH_OF, Interval, default_interval
from torchconsole.engine.config.section import Component, Count, MappedDevice, Section
from torchconsole.engine.config.tracking_schema import TrackingConfig

NormType = Annotated[
    Annotated[float, Field(gt=0)] | Literal["inf"],
    BeforeValidator(lambda value: "inf" if value == math.inf else value),  # JSON has no infinity
]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]

DEVICE_NAME = r"^(auto|cpu|mps|cuda(:\d+)?)$"
"""Names of devices."""

_PENALIZED = "name patterns; default: all but biases and norm layers"


class InitRule(Section):
    """Initializes the parameters of some layers with a function of torch.nn.init."""

    init: str = Field(
        min_length=1, description="kaiming_normal_, xavier_uniform_, orthogonal_, constant_, ..."
    )
    layers: list[str] = Field(default=[], description="layer types such as Conv2d; default: all")
    parameters: str = Field(
        default="weight", description="name pattern of the parameters, e.g. weight or weight_hh*"
    )
    args: dict[str, Any] = Field(default={}, description="further arguments of the function")


class LayerConfig(Component):
    """A layer: a class of torch.nn with its arguments. Sizes that are left out are filled in.

    `Sequential` and `Residual` (the input plus what its layers make of it) take `layers` of their own.
    """

    layers: list[LayerConfig] = Field(default=[], description="layers of a Sequential or a Residual")


class ModelConfig(Component):
    """The model. Input shape and number of classes come from the data unless they are given."""

    name: str = Field(
        min_length=1,
        description="name of a model, package.module:Thing or file.py:Thing; default with layers: Sequential",
    )
    layers: list[LayerConfig] = Field(
        default=[],
        description="layers of the model, classes of torch.nn; sizes that are left out are filled in",
    )
    replace: dict[str, LayerConfig | list[LayerConfig]] = Field(
        default={},
        description='modules to replace by a layer or a list of layers: {"fc" = { name = "Identity" }}',
    )
    weights: str | None = Field(
        default=None, description="torchvision weights, a file or a checkpoint folder"
    )
    strict: bool = Field(default=True, description="false loads only matching weights, and logs the rest")
    rename: dict[str, str] = Field(
        default={}, description='prefixes to replace in the names of the weights: {"backbone." = ""}'
    )
    freeze: list[str] = Field(default=[], description="name patterns of parameters that are not trained")
    unfreeze_at_epoch: int | None = Field(
        default=None, ge=1, description="number of epochs after which all parameters are trained"
    )
    init: list[InitRule] = Field(default=[], description="rules, applied in order before weights are loaded")
    device_map: Literal["own"] | dict[str, MappedDevice] | None = Field(
        default=None,
        description='devices of modules: {"features" = "cuda:0", "" = "cuda:1"}; own: the model does it',
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, content: Any) -> Any:
        """Add the name of a model that is a list of layers, and join the names of modules to replace.

        TOML takes `replace.classifier.6` for a table in a table.
        """
        if not isinstance(content, dict):
            return content
        if "name" not in content and content.get("layers"):
            content = {"name": "Sequential", **content}
        replaced = content.get("replace")
        return {**content, "replace": _joined(replaced)} if isinstance(replaced, dict) else content


def _joined(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one, up to those that have a name: {a: {b: X}} is {"a.b": X}."""
    found: dict[str, Any] = {}
    for key, value in tables.items():
        inside = isinstance(value, dict) and value and all(isinstance(v, dict | list) for v in value.values())
        found |= _joined(value, f"{prefix}{key}.") if inside else {f"{prefix}{key}": value}
    return found


class LossConfig(Component):
    """The loss, a class of torch.nn."""

    name: str = Field(default="auto", min_length=1, description="class of torch.nn; auto depends on the task")
    weight: Literal["balanced"] | list[float] | None = Field(
        default=None, description="class weights: a list, or balanced to compute them from the training set"
    )
    outputs: Literal["logits", "probabilities", "log_probabilities", "values"] | None = Field(
        default=None,
        description="what the model's outputs are; default: what a loss of torch takes, logits for your own",
    )
    factor: float = Field(default=1.0, gt=0, description="factor of this loss in a sum of losses")
    also: list[LossConfig] = Field(default=[], description="further losses to add, each with its factor")
    l1: float = Field(default=0.0, ge=0, description="factor of the sum of absolute weights")
    l1_parameters: list[str] | None = Field(
        default=None, min_length=1, description=f"parameters that l1 applies to; {_PENALIZED}"
    )
    l2: float = Field(default=0.0, ge=0, description="factor of half the sum of squared weights")
    l2_parameters: list[str] | None = Field(
        default=None, min_length=1, description=f"parameters that l2 applies to; {_PENALIZED}"
    )


class GroupConfig(BaseModel):
    """A parameter group with its own lr and other arguments of the optimizer."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    match: list[str] = Field(min_length=1, description="name patterns, e.g. backbone.* or *.bias")
    lr: float | None = Field(default=None, gt=0, description="learning rate of these parameters")

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that differ from those of the optimizer."""
        lr = {} if self.lr is None else {"lr": self.lr}
        return {**lr, **(self.model_extra or {})}


class OptimizerConfig(Component):
    """The optimizer, a class of torch.optim."""

    name: str = Field(default="AdamW", min_length=1, description="optimizer class of torch.optim")
    lr: float = Field(default=1e-3, gt=0, description="learning rate before the schedule")
    decay_norm_and_bias: bool = Field(
        default=True, description="apply weight decay to biases and normalization layers too"
    )
    groups: list[GroupConfig] = Field(default=[], description="parameters with arguments of their own")

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the constructor, including lr."""
        return {"lr": self.lr, **super().arguments}


class SchedulerConfig(Component):
    """A scheduler, a class of torch.optim.lr_scheduler or `Table`."""

    interval: Interval | None = Field(
        default=None,
        description="unit that it counts; default: step for OneCycleLR, CyclicLR and where the length "
        "(T_max, total_iters, total_steps) is left out and so filled in, else epoch",
    )
    monitor: str = Field(default="val/loss", description="metric for ReduceLROnPlateau, and for its mode")


class ScheduleConfig(SchedulerConfig):
    """A part of the lr schedule: a class of torch.optim.lr_scheduler or `Table`."""

    until: int | None = Field(
        default=None, ge=1, description="step or epoch (see interval) after which the next part takes over"
    )
    schedulers: list[SchedulerConfig] = Field(
        default=[], description="schedulers that ChainedScheduler multiplies, each with its own arguments"
    )

    @property
    def members(self) -> dict[str, SchedulerConfig]:
        """The schedulers of this part, by their key within it: itself, or those that it chains."""
        if self.name != CHAINED:
            return {"": self}
        return {f".schedulers.{number}": member for number, member in enumerate(self.schedulers)}

    @property
    def known_interval(self) -> Interval | None:
        """The unit of `until`; None if it depends on user code."""
        if self.interval is not None:
            return self.interval
        if any(":" in member.name and member.interval is None for member in self.members.values()):
            return None
        units = {
            member.interval or default_interval(member.name, is_fitted=_is_fitted(member))
            for member in self.members.values()
        }
        return "step" if units == {"step"} else "epoch"


def _is_fitted(config: SchedulerConfig) -> bool:
    """Whether the length of a scheduler of torch is filled in."""
    return config.name in LENGTH_OF and LENGTH_OF[config.name] not in config.arguments


class MetricConfig(Component):
    """A metric of torchmetrics, logged as val/<key>; the default key is its name in snake case."""

    key: str | None = Field(default=None, description="name in the logs")


class EarlyStoppingConfig(Section):
    """Ends the run if a metric stops improving."""

    monitor: str = Field(default="val/loss", description="metric to watch")
    mode: Literal["min", "max"] | None = Field(
        default=None, description="whether lower or higher is better; default: depends on the metric"
    )
    patience: int = Field(default=7, ge=1, description="evaluations without improvement before the run ends")
    min_delta: float = Field(
        default=0.0, ge=0, description="smaller improvements do not reset the patience; they count as best"
    )
    restore_best: bool = Field(default=False, description="restore the best weights at the end of the run")


class EmaConfig(Section):
    """An exponential moving average (EMA) of the weights, which is evaluated and saved too."""

    decay: float = Field(default=0.999, gt=0, lt=1, description="weight of the previous average in each step")


class EvaluationConfig(Section):
    """What each evaluation keeps besides its metrics."""

    worst: int = Field(
        default=9, ge=0, le=100, description="number of samples with the highest losses to keep; 0 is off"
    )


class CheckpointConfig(Section):
    """When checkpoints are saved, and how many are kept. Best and manually saved ones are always kept."""

    keep: int = Field(default=2, ge=-1, description="number of recent checkpoints to keep; -1 keeps all")
    save_every_minutes: float = Field(default=1.0, gt=0, description="time between checkpoints (minutes)")
    save_every_steps: int | None = Field(
        default=None, ge=1, description="also save after every multiple of this many steps"
    )


class TrainingConfig(Section):
    """The training loop."""

    epochs: int = Field(default=10, ge=1, description="passes over the training data")
    max_steps: int | None = Field(default=None, ge=1, description="limit on optimizer steps")
    max_minutes: float | None = Field(default=None, gt=0, description="limit on training time (minutes)")
    seed: int = Field(default=42, ge=0, lt=2**63, description="seed of split, order, weights and dropout")
    deterministic: bool = Field(default=False, description="use only deterministic algorithms of torch")
    device: str = Field(default="auto", pattern=DEVICE_NAME, description="auto, cpu, mps, cuda or cuda:N")
    precision: Precision = Field(
        default="auto", description="auto is bf16 on Ampere or newer GPUs, else fp32"
    )
    compile: bool = Field(default=False, description="compile the model with torch.compile")
    channels_last: bool | None = Field(
        default=None, description="channels-last memory format; default: if the model has 2D convolutions"
    )
    threads: Literal["auto"] | Count = Field(
        default="auto", description="CPU threads of torch; auto uses fewer if that is as fast"
    )
    grad_accum_steps: int = Field(default=1, ge=1, description="batches per optimizer step")
    clip_norm: float | None = Field(default=None, gt=0, description="maximum norm of all gradients together")
    clip_norm_type: NormType = Field(
        default=2.0, description="p of the norm that clip_norm limits; inf is the largest absolute gradient"
    )
    clip_value: float | None = Field(default=None, gt=0, description="maximum absolute value of a gradient")
    nonfinite: Literal["stop", "skip"] = Field(
        default="stop", description="if the loss is nan or inf, stop the run or skip the step"
    )
    eval_every: int = Field(default=1, ge=1, description="epochs or steps (see eval_interval) per evaluation")
    eval_interval: Literal["step", "epoch"] = Field(default="epoch", description="unit of eval_every")
    log_every: int | None = Field(
        default=None, ge=1, description="steps between logged metrics; default: 1/100 of an epoch"
    )


class DistributedConfig(Section):
    """A training by several processes, started here or by torchrun or Slurm. One process ignores the rest."""

    processes: Literal["auto"] | Count = Field(
        default=1,
        description="processes of one machine, one on each GPU (--nproc); auto: one for each free GPU",
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        default="ddp",
        description="ddp: each process has the whole model; fsdp: each has a part of all weights, gradients "
        "and optimizer state",
    )
    cpu_offload: bool = Field(
        default=False,
        description="with fsdp on GPUs: keep the parts in the host's memory, and step the optimizer there",
    )
    sync_batchnorm: bool = Field(
        default=False, description="use the samples of all processes in batch normalization (GPUs only)"
    )
    lr_scaling: Literal["none", "linear", "sqrt"] = Field(
        default="none",
        description="multiply optimizer.lr by the number of processes (linear) or its square root (sqrt)",
    )
    timeout: float = Field(
        default=30.0, gt=0, description="time after which a process that hangs ends the run (minutes)"
    )
    checksum_every: int = Field(
        default=1000,
        ge=0,
        description="with ddp, steps between two comparisons of the parameters of all processes; 0: none",
    )
    max_restarts: int = Field(
        default=0,
        ge=0,
        description="how many times all processes are restarted after one of them has failed",
    )


class Preset(Section):
    """The complete description of a training."""

    title: str = Field(min_length=1, description="title in the menu, one line")
    description: str = Field(default="", description="what it trains and what it shows, in two sentences")
    needs: str = Field(default="", description="requirements shown in the menu: downloads, a GPU, time")
    group: str = Field(default="", description="heading in the menu; default: Your own")
    code_folders: list[str] | None = Field(
        default=None,
        description="folders to search for user code after what is installed; default: the working folder",
    )
    data: DataConfig
    model: ModelConfig
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: list[ScheduleConfig] = []
    metrics: list[MetricConfig] | None = Field(
        default=None, description="metrics of each evaluation; default: depends on the task"
    )
    early_stopping: EarlyStoppingConfig | None = None
    ema: EmaConfig | None = None
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    tracking: TrackingConfig = TrackingConfig()
    training: TrainingConfig = TrainingConfig()
    distributed: DistributedConfig = DistributedConfig()

    @model_validator(mode="after")
    def _check_layers(self) -> Preset:
        """Check that a model has either a name or layers."""
        if self.model.name == "Sequential" and not self.model.layers:
            raise ValueError("model.layers: is missing; list the layers as [[model.layers]]")
        if self.model.name != "Sequential" and self.model.layers:
            raise ValueError(
                f'model.layers: {self.model.name} has layers of its own; set model.name = "Sequential", or '
                "remove model.layers"
            )
        return self

    @model_validator(mode="after")
    def _check_offload(self) -> Preset:
        """Check that what is moved to the host's memory is sharded."""
        if self.distributed.cpu_offload and self.distributed.strategy != "fsdp":
            raise ValueError(
                'distributed.cpu_offload: has no effect with distributed.strategy = "ddp"; set the '
                'strategy to "fsdp", or remove cpu_offload'
            )
        return self

    @model_validator(mode="after")
    def _check_schedule(self) -> Preset:
        """Check that every part of the schedule but the last has an end, and that the ends are in order."""
        for number, part in enumerate(self.schedule):
            if part.name == CHAINED and not part.schedulers:
                raise ValueError(
                    f"schedule.{number}.schedulers: is missing; list the schedulers to multiply: [{{ name = "
                    '"LinearLR", total_iters = 5 }, { name = "ExponentialLR", gamma = 0.9 }]'
                )
            if part.schedulers and part.name != CHAINED:
                raise ValueError(f"schedule.{number}.schedulers: only {CHAINED} takes this key")
        for number, (part, following) in enumerate(itertools.pairwise(self.schedule)):
            if part.until is None:
                raise ValueError(
                    f"schedule.{number}.until: is missing; {part.name} is followed by {following.name} and "
                    "needs an end"
                )
            same_unit = part.known_interval == following.known_interval is not None
            if same_unit and following.until is not None and following.until <= part.until:
                raise ValueError(
                    f"schedule.{number + 1}.until: {following.name} would end at {following.until}, before "
                    f"it starts at {part.until}; `until` counts from the start of the run"
                )
        return self
