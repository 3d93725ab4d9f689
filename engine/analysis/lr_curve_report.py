"""The learning rate of a whole run before it is begun."""

from __future__ import annotations

from torchconsole.engine.components.data import measure_data
from torchconsole.engine.components.freezing import freeze
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.user_code_loader import UserCode
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.protocol.events import LearningRateCurve
from torchconsole.engine.training.lr_forecast import forecast_lr
from torchconsole.engine.training.setup import build_optimization


def lr_curve(preset: Preset) -> LearningRateCurve:
    """The lr of each parameter group at some hundreds of the run's steps.

    The data is opened for its size and the model built for its groups of parameters, without weights. Raises
    ComponentError, DataError and TrustError as the start of a run does.
    """
    own = UserCode()
    spec, batches = measure_data(preset.data, preset.training, lambda phase: None, own)
    model = build_model(preset.model.model_copy(update={"weights": None, "init": []}), spec, own)
    freeze(model, preset.model.freeze)
    _, learning_rate = build_optimization(preset, model, batches, own)
    schedule = learning_rate.copy_schedule()
    ahead = forecast_lr(schedule)
    return LearningRateCurve(
        steps_per_epoch=schedule.steps_per_epoch,
        total_steps=schedule.total_steps,
        steps=ahead.steps.tolist(),
        lrs=ahead.lrs.tolist(),
        metric=ahead.metric,
    )
