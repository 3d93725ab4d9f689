"""One optimizer step: forward and backward over a group of batches, clipping, the update of the weights.

This is the hot path. The host waits for the device here in three cases only: fp16 (the scaler reads whether a
gradient overflowed), `nonfinite = "skip"` with an optimizer that is not fused, and a step whose layers are
measured. Of torch's optimizers, ASGD and Adafactor read their own state from the device in every step.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm

from torchconsole.engine.components.shards import largest_gradient, whole
from torchconsole.engine.components.torch_compat import call_after_backward, unhooked_step
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.training.layer_watch import LayerWatch
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.nonfinite import NonfiniteGuard
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.step_phases import StepPhases

MOST_OVERFLOWS = 50
"""Steps in a row that the scaler may leave out; halved that often, its scale has vanished."""


class TrainingStep:
    """Takes batches one by one; the last of each group completes an optimizer step."""

    def __init__(
        self,
        setup: TrainingSetup,
        progress: Progress,
        meter: LossMeter,
        phases: StepPhases | None = None,
    ) -> None:
        training = setup.preset.training
        self.grad_norm: Tensor | None
        """Norm of all gradients before clipping, in the last step; None if nothing needs it."""
        self.watch: LayerWatch | None = None
        """What measures the layers; in a step that it measures, the host waits for the device."""
        self._setup = setup
        self._progress = progress
        self._meter = meter
        self._phases = phases or StepPhases(setup.device)
        self._scaler = setup.precision.scaler
        self._step_weights = unhooked_step(setup.optimizer)
        self._parameters = list(setup.model.parameters())
        self._ranks = setup.ranks
        self._is_shared = not setup.ranks.is_alone
        self._averages = setup.ranks.averages_in_backward
        if self._averages:
            setup.ranks.on_buffers = self._end_buffers
        self._is_weighted = training.grad_accum_steps > 1 or self._is_shared
        self.follow_model()
        self._accumulate = training.grad_accum_steps
        skips = training.nonfinite == "skip" and self._scaler is None
        self._guard = NonfiniteGuard(setup.model, setup.optimizer) if skips else None
        self.follow_preset(setup.preset)
        self._group_ends = 0
        self._group_samples = 0
        self._overflows = 0
        self._scale = 0.0
        self.is_within_group = False
        """Whether some batches of a step are done and others not; no checkpoint has their gradients."""
        self.skipped = False
        """Whether the scaler found an overflow in the last group and left its step out."""

    def __call__(self, inputs: Tensor, targets: Tensor) -> bool:
        """Run forward and backward over one batch; return whether it was the last of its group."""
        setup, progress, count = self._setup, self._progress, len(targets)
        phases = self._phases
        if phases.is_open:
            phases.end("data")
        if progress.batch >= self._group_ends:
            self._begin_group()
            if self.watch is not None:
                measures = self.watch.begin(progress.step, inputs, targets)
                if measures and phases.is_open:
                    phases.drop()  # measuring the layers takes time that other steps do not need
        completes = progress.batch + 1 == self._group_ends
        if self._is_shared:
            count = self._counted(count)
            self._ranks.synchronize(completes)
        with setup.precision.autocast:
            loss: Tensor = setup.loss_fn(self._model(inputs), targets)
        self._meter.add(loss.detach(), count, progress.step + 1)
        objective = loss * (count * self._ranks.size / self._group_samples) if self._is_weighted else loss
        progress.batch += 1
        self.is_within_group = not completes
        if completes and setup.penalty is not None:
            objective = objective + setup.penalty()
        if self._scaler is not None:
            objective = self._scaler.scale(objective)
        waits = completes and self._averages
        if phases.is_open:
            phases.end("forward")
            if waits:
                call_after_backward(objective, lambda: phases.end("backward"))
        objective.backward()  # type: ignore[no-untyped-call]
        if phases.is_open:
            phases.end("communication" if waits else "backward")
        if completes:
            self._update(loss.detach())
            if phases.is_open:
                phases.end("optimizer")
            if self.watch is not None:
                self.watch.finish(progress.step)
        return completes

    def follow_preset(self, preset: Preset) -> None:
        """Clip as the preset says from now on."""
        training = preset.training
        self._clip_norm = training.clip_norm
        self._norm_type = float(training.clip_norm_type)
        self._clip_value = training.clip_value
        self.grad_norm = None  # that of a step before would be logged once nothing measures it any more

    def begin_epoch(self) -> None:
        """Start a new group: none extends from one epoch into the next."""
        self.follow_model()
        self._group_ends = 0
        self.is_within_group = False

    def restart(self) -> None:
        """Forget the last step, which was made with other weights: a checkpoint was restored between two."""
        self.follow_model()
        if self._guard is not None:
            self._guard = NonfiniteGuard(self._setup.model, self._setup.optimizer)
        self.grad_norm = None
        self.skipped = False
        self._overflows = 0

    def follow_model(self) -> None:
        """Average the gradients of the parameters that are trained now, if there are several processes."""
        self._model = self._ranks.replicate(self._setup.model)

    def _end_buffers(self) -> None:
        """Note that the leader's buffers have arrived, for which the forward pass has waited."""
        if self._phases.is_open:
            self._phases.end("communication")

    def _counted(self, count: int) -> int:
        """Return how many samples of a batch count: 0 if this process has none of its own (`TrainOrder`)."""
        ranks, data = self._ranks, self._setup.data.train
        size = self._setup.preset.data.batch_size
        before = (self._progress.batch * ranks.size + ranks.rank) * size
        return count if before < data.samples_per_epoch else 0

    def _begin_group(self) -> None:
        """Groups end at multiples of `grad_accum_steps`, and at the epoch's end.

        Each batch is weighted by its samples, so that a group's gradient is that of its samples in one batch;
        but a loss with class weights is a weighted mean within each batch. Several processes average their
        gradients, so each is weighted by its samples times the number of processes.
        """
        data, size = self._setup.data.train, self._setup.preset.data.batch_size * self._ranks.size
        first, every = self._progress.batch, self._accumulate
        self._group_ends = min((first // every + 1) * every, data.batches_per_epoch)
        self._group_samples = min(self._group_ends * size, data.samples_per_epoch) - first * size
        for parameter in self._parameters:
            parameter.grad = None
        if self._scaler is not None:
            # Read here, where the host has already waited for the last step, and not after a backward pass.
            self._scale = self._scaler.get_scale()
        if self._guard is not None:
            self._guard.remember()

    def _update(self, loss: Tensor) -> None:
        """Clip the gradients and make the optimizer's step."""
        if self._scaler is not None:
            self._scaler.unscale_(self._setup.optimizer)
        if self.watch is not None:
            self.watch.read_gradients()
        if self._clip_norm is not None:
            self.grad_norm = self._clip(self._clip_norm)
        elif self._guard is not None:
            gradients = [p.grad for p in self._parameters if p.grad is not None]
            self.grad_norm = whole(get_total_norm(gradients))
        if self._clip_value is not None:
            clip_grad_value_(self._parameters, self._clip_value)
        left_out: Tensor | None = None
        if self._scaler is not None:
            self._step_scaled(self._scaler)
        elif self._guard is not None and self.grad_norm is not None:
            left_out = self._guard.step(self._ranks.total(loss), self.grad_norm)
            self._meter.mark(left_out, self._progress.step + 1)
        else:
            self._step_weights()
        if self.skipped:
            self._progress.skipped += 1
            return
        self._progress.step += 1
        if self._setup.ema is not None:
            self._setup.ema.update(left_out)

    def _clip(self, limit: float) -> Tensor:
        """Clip the norm of the gradients, and return what it was."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if not self._ranks.is_sharded or self._norm_type != math.inf or not gradients:
            return whole(clip_grad_norm_(self._parameters, limit, self._norm_type))
        norm = largest_gradient(gradients)
        clip_grads_with_norm_(self._parameters, limit, norm)
        return norm

    def _step_scaled(self, scaler: GradScaler) -> None:
        """Step with the scaler. The host waits for the device here, once a step, for what it found."""
        scaler.step(self._setup.optimizer)
        scaler.update()
        self.skipped = scaler.get_scale() < self._scale
        self._overflows = self._overflows + 1 if self.skipped else 0
        if self._overflows == MOST_OVERFLOWS:
            raise TrainingError(
                f"{MOST_OVERFLOWS} steps in a row were skipped, since fp16 gradients were not finite; set "
                'training.precision to "bf16" or "fp32", or lower optimizer.lr'
            )
