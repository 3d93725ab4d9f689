"""Commands that a client may send to a run. The training thread applies them at step boundaries only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)

LARGEST_LR = 1000.0
"""Largest lr and largest factor that are accepted: anything larger is a typing error."""


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PauseRun(_Command):
    """Pause after the current step until `UnpauseRun`; other commands are still applied."""

    type: Literal["PauseRun"] = "PauseRun"


class UnpauseRun(_Command):
    """End a pause."""

    type: Literal["UnpauseRun"] = "UnpauseRun"


class TrainSteps(_Command):
    """Train that many steps and pause then; a pause ends until then. Other commands are applied meanwhile."""

    type: Literal["TrainSteps"] = "TrainSteps"
    steps: int = Field(default=1, ge=1, le=1_000_000)


class SetLearningRate(_Command):
    """Scale the schedule to a new lr: an absolute `value`, or the present lr times `factor`.

    A value is for the first parameter group; the others keep their ratio to it. While the lr is held, the
    held lr changes and the scale stays.
    """

    type: Literal["SetLearningRate"] = "SetLearningRate"
    value: float | None = Field(default=None, ge=0, le=LARGEST_LR)
    factor: float | None = Field(default=None, gt=0, le=LARGEST_LR)

    @model_validator(mode="after")
    def _check_either(self) -> SetLearningRate:
        if (self.value is None) == (self.factor is None):
            raise ValueError("give either a value or a factor")
        return self


class HoldLearningRate(_Command):
    """Hold the lr at `value`, or at the present lr, until `ReleaseLearningRate`.

    The schedule continues underneath. A value is for the first parameter group; the others keep their ratio
    to it.
    """

    type: Literal["HoldLearningRate"] = "HoldLearningRate"
    value: float | None = Field(default=None, ge=0, le=LARGEST_LR)


class ReleaseLearningRate(_Command):
    """End a hold: the lr is that of the schedule again, times the scale."""

    type: Literal["ReleaseLearningRate"] = "ReleaseLearningRate"


class SaveCheckpoint(_Command):
    """Save a checkpoint that rotation never removes or, without `keep`, removes like any other."""

    type: Literal["SaveCheckpoint"] = "SaveCheckpoint"
    keep: bool = True

    @model_serializer(mode="wrap")
    def _without_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave `keep` out where it is the default: a worker of an older build rejects it."""
        content: dict[str, Any] = handler(self)
        if self.keep:
            content.pop("keep", None)  # the caller may leave defaults out, too
        return content


class RunEvaluation(_Command):
    """Evaluate on the validation data now. Early stopping ignores the result."""

    type: Literal["RunEvaluation"] = "RunEvaluation"


class ProfileSteps(_Command):
    """Profile the next ten steps, or those until an evaluation or a pause, and write a trace of them.

    With gradient accumulation, fewer steps: as many as have at most ten batches, but at least one.
    """

    type: Literal["ProfileSteps"] = "ProfileSteps"


class MeasureLayers(_Command):
    """Measure the layers in the next step, then every `every` steps; 0 ends that. A resume does not."""

    type: Literal["MeasureLayers"] = "MeasureLayers"
    every: int = Field(default=50, ge=0, le=1_000_000)

    @property
    def how_often(self) -> str:
        """The distance of the measurements for people."""
        return "every step" if self.every == 1 else f"every {self.every:,} steps"


class FreezeLayer(_Command):
    """Train the parameters of the module called `layer` no more, until `UnfreezeLayer`."""

    type: Literal["FreezeLayer"] = "FreezeLayer"
    layer: str


class UnfreezeLayer(_Command):
    """Train again what commands have frozen in the module called `layer`."""

    type: Literal["UnfreezeLayer"] = "UnfreezeLayer"
    layer: str


class RollBack(_Command):
    """Take the training back to a checkpoint of the run, and train on from there in the same process.

    `checkpoint` is `best`, `last` or a name such as `step-00012000`; None is the best one, or the last one if
    there is no best. What came after it is void, as after a resume from it.
    """

    type: Literal["RollBack"] = "RollBack"
    checkpoint: str | None = Field(default=None, max_length=100)


class ChangeSetting(_Command):
    """Change a key of the run's preset, from the next step or epoch on.

    `value` is typed as for --set; an empty one unsets the key.
    """

    type: Literal["ChangeSetting"] = "ChangeSetting"
    key: str = Field(min_length=1)
    value: str

    @property
    def setting(self) -> str:
        """The change as it is typed."""
        return f"{self.key}={self.value}"


class StopRun(_Command):
    """Save a checkpoint after the current step and end the run as `stopped`."""

    type: Literal["StopRun"] = "StopRun"
    reason: str = "stop requested"


class ChangePreset(_Command):
    """Change keys of the run's preset: key -> (before, after). Part of a resume, never sent to a live run."""

    type: Literal["ChangePreset"] = "ChangePreset"
    changes: dict[str, tuple[Any, Any]]


class UnknownCommand(BaseModel):
    """A command of a later version, read from the journal of a run. It cannot be sent."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str


Command = Annotated[
    PauseRun
    | UnpauseRun
    | TrainSteps
    | SetLearningRate
    | HoldLearningRate
    | ReleaseLearningRate
    | SaveCheckpoint
    | RunEvaluation
    | ProfileSteps
    | MeasureLayers
    | FreezeLayer
    | UnfreezeLayer
    | RollBack
    | ChangeSetting
    | StopRun
    | ChangePreset,
    Field(discriminator="type"),
]
UNCHANGING = (SaveCheckpoint, RunEvaluation, ProfileSteps, MeasureLayers)
"""Commands that do not change the training."""

COMMAND: TypeAdapter[Command] = TypeAdapter(Command)
