"""What the findings of a start are derived from: the setup, its dry run, and what model and loss call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from torchconsole.engine.analysis.findings.batch_dependence import change_without_others
from torchconsole.engine.analysis.findings.forward_trace import ForwardTrace, trace_forward
from torchconsole.engine.analysis.findings.limits import Limits, find_limits
from torchconsole.engine.analysis.findings.observe import LossCall, LossUse, main_output, use_in_loss
from torchconsole.engine.analysis.findings.provenance import WITHOUT_LIMITS
from torchconsole.engine.components.parameters import enter_train_mode
from torchconsole.engine.training.dry_run import DryRun
from torchconsole.engine.training.preserve import preserve
from torchconsole.engine.training.setup import TrainingSetup


@dataclass(frozen=True)
class Facts:
    """A training that is built, and what its dry run saw."""

    setup: TrainingSetup
    dry_run: DryRun
    use: LossUse
    """What the loss does with the training batch."""
    trace: ForwardTrace | None
    """What the model calls in eval mode; None if it cannot be run once more."""
    limits: Limits | None
    """What the outputs never leave, if a function made them whose name tells nothing about that."""
    change_without_others: float | None
    """How much outputs in evaluation change without the other samples of the batch; None if unknown."""

    @property
    def calls(self) -> list[LossCall]:
        """The comparisons of outputs and targets in the loss, for the training batch."""
        return self.use.calls

    @property
    def inputs(self) -> Tensor:
        """The inputs of the training batch, (B, ...)."""
        return self.dry_run.batch[0]

    @property
    def targets(self) -> Tensor:
        """The targets of the training batch, (B, ...)."""
        return self.dry_run.batch[1]

    @cached_property
    def outputs(self) -> Tensor | None:
        """The main outputs in training mode as float32, (B, ...); None if there are none or no floats."""
        found = main_output(self.dry_run.outputs)
        return found.detach().float() if found is not None and found.is_floating_point() else None

    @property
    def rounded(self) -> bool:
        """Whether outputs may be rounded to half precision."""
        return self.setup.precision.name in ("bf16", "fp16")

    @property
    def is_untrained(self) -> bool:
        """Whether all weights are new: not from a checkpoint and not from a file or download."""
        return not self.setup.from_checkpoint and self.setup.preset.model.weights is None


def gather(setup: TrainingSetup, dry_run: DryRun) -> Facts:
    """Run the loss and the model once more to see what they call; the training's state stays as it was."""
    with preserve([setup.model, setup.loss_fn]):
        with setup.precision.autocast:
            use = use_in_loss(setup.loss_fn, dry_run.outputs, dry_run.batch[1])
        with setup.precision.autocast:
            trace = trace_forward(setup.model, dry_run.batch[0], is_compiled=setup.preset.training.compile)
        with setup.precision.autocast:
            change = change_without_others(
                setup.model,
                dry_run.eval_batch[0],
                is_compiled=setup.preset.training.compile,
            )
        with setup.precision.autocast:
            limits = _limits(setup, dry_run, trace)  # the last, since it changes the weights
    return Facts(setup, dry_run, use, trace, limits, change)


def _limits(setup: TrainingSetup, dry_run: DryRun, trace: ForwardTrace | None) -> Limits | None:
    """Return the limits of the outputs in training mode, if no function with known limits made them."""
    outputs = main_output(dry_run.outputs)
    if trace is None or trace.origin not in WITHOUT_LIMITS:
        return None
    if outputs is None or not outputs.is_floating_point():
        return None
    if not outputs.numel() or outputs.ndim == 0 or not outputs.isfinite().all():
        return None
    enter_train_mode(setup.model, setup.preset.model, 0)
    is_compiled = setup.preset.training.compile
    return find_limits(setup.model, dry_run.batch[0], outputs.float(), is_compiled=is_compiled)


def spread(values: Tensor) -> str:
    """Format the range of values: `[0.02, 0.91]`."""
    low, high = torch.aminmax(values)
    return f"[{low.item():.3g}, {high.item():.3g}]"
