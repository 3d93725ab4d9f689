"""Evaluates half of a batch alone, which shows whether a prediction depends on the other samples."""

from __future__ import annotations

import contextlib
import warnings

import torch
from torch import Tensor, nn

from torchconsole.engine.analysis.findings.observe import main_output

TOLERANCE, ROUNDED_TOLERANCE = 0.01, 0.1
"""Difference relative to the largest output, in float32 (or TF32) and in half precision.

Other kernels may compute a batch of another size.
"""


def change_without_others(model: nn.Module, inputs: Tensor, *, is_compiled: bool) -> float | None:
    """Return how much the outputs of every other sample of `inputs` (B, ...) change without those between.

    That is the median over the samples of the largest difference, relative to the largest output. All of them
    lose their neighbor, from which a recurrent layer gets most that takes the samples for time steps. None if
    it cannot be told. The model changes to eval mode; the caller preserves it.
    """
    if len(inputs) < 2:
        return None
    model.eval()
    try:
        with (
            torch.inference_mode(),
            warnings.catch_warnings(action="ignore"),
            torch.compiler.set_stance("force_eager") if is_compiled else contextlib.nullcontext(),
        ):
            together, alone = (main_output(model(rows.clone())) for rows in (inputs, inputs[1::2]))
            if together is None or alone is None or not together.is_floating_point():
                return None
            if together.shape[:1] != inputs.shape[:1] or alone.shape != together[1::2].shape:
                return None
            size = together.float().abs().max()
            change = (alone.float() - together[1::2].float()).abs().reshape(len(alone), -1).amax(1).median()
    except Exception:  # noqa: BLE001 - a model may take batches of one size only
        return None
    return (change / size).item() if size > 0 and change.isfinite() else None
