"""The preset: typed sections, each field with its sentence. Unknown keys are errors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Component(BaseModel):
    """A thing of torch named as torch names it; every further key is an argument of its constructor."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    name: str = Field(min_length=1, description="the class's name")

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the constructor."""
        return dict(self.model_extra or {})


class DataConfig(_Section):
    """Where the samples come from and how they are split and batched."""

    name: str = Field(min_length=1, description="the data set's name")
    batch_size: int = Field(default=32, ge=1, description="samples per training step")
    eval_batch_size: int | None = Field(
        default=None, ge=1, description="samples per evaluation batch; larger than batch_size when left out"
    )
    val_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="part of the samples kept for validation, stratified by class"
    )
    standardize: bool = Field(
        default=True, description="scale inputs to mean 0 and deviation 1, measured on the training part"
    )


class ModelConfig(_Component):
    """The network."""


class LossConfig(_Component):
    """The loss function, a class of torch.nn."""

    name: str = Field(default="CrossEntropyLoss", min_length=1, description="a loss class of torch.nn")


class OptimizerConfig(_Component):
    """The optimizer, a class of torch.optim."""

    name: str = Field(default="AdamW", min_length=1, description="a class of torch.optim")
    lr: float = Field(default=1e-3, gt=0, description="learning rate before the schedule")

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the constructor, lr among them."""
        return {"lr": self.lr, **super().arguments}


class ScheduleConfig(_Component):
    """One part of the learning-rate schedule, a class of torch.optim.lr_scheduler."""

    interval: Literal["step", "epoch"] = Field(default="step", description="how often it is stepped")
    until: int | None = Field(
        default=None, ge=1, description="where the next part takes over, counted in `interval` from the start"
    )


class EarlyStoppingConfig(_Section):
    """Stop when a metric has not improved for a while."""

    monitor: str = Field(default="val/loss", description="the metric to watch")
    mode: Literal["min", "max"] = Field(default="min", description="whether lower or higher is better")
    patience: int = Field(default=7, ge=1, description="evaluations without improvement before the run ends")
    min_delta: float = Field(default=0.0, ge=0, description="an improvement must be larger than this")


class CheckpointConfig(_Section):
    """When checkpoints are written and which are kept. The best and the hand-saved ones always are."""

    keep: int = Field(default=2, ge=-1, description="newest checkpoints kept; -1 keeps all")
    save_every_minutes: float = Field(default=1.0, gt=0, description="minutes between checkpoints")


class TrainingConfig(_Section):
    """The loop."""

    epochs: int = Field(default=10, ge=1, description="passes over the training data")
    seed: int = Field(
        default=42, ge=0, lt=2**63, description="fixes split, order, initialisation and dropout"
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N"
    )
    log_every: int | None = Field(
        default=None, ge=1, description="steps between logged metrics; a hundredth of an epoch when left out"
    )
    threads: int | None = Field(
        default=None, ge=1, description="torch's CPU threads; torch's own choice when left out"
    )


class Preset(_Section):
    """One training, completely described."""

    title: str = Field(min_length=1, description="one line for the menu")
    description: str = Field(default="", description="two sentences: what it does and what it teaches")
    data: DataConfig
    model: ModelConfig
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: list[ScheduleConfig] = []
    early_stopping: EarlyStoppingConfig | None = None
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
        return self
