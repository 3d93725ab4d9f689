"""Whether `training.compile` wins: short steps of small models can take longer compiled."""

from __future__ import annotations

import torch

from torchconsole.engine.training.dry_run import Batch, forward_and_backward, preserve_state
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.timing import in_milliseconds, median_seconds

LOSS = 1.25
"""A compiled step that takes so many times as long is worth a warning; less may be chance."""


def complaint_of_compiled(setup: TrainingSetup, batch: Batch) -> str:
    """Why a model that has been compiled had better not be; empty where it is faster so, or as fast.

    Nothing of the task is changed. What a clock says decides nothing: two runs of one seed stay alike.
    """
    if not setup.preset.training.compile:
        return ""
    with preserve_state(setup):
        compiled = median_seconds(lambda: forward_and_backward(setup, batch))
        with torch.compiler.set_stance("force_eager"):
            eager = median_seconds(lambda: forward_and_backward(setup, batch))
    if compiled < LOSS * eager:
        return ""
    return (
        f"compiled, the model takes {in_milliseconds(compiled)} ms forward and backward, uncompiled "
        f"{in_milliseconds(eager)} ms: training.compile = false is faster here"
    )
