"""One dry run, the same for `check` and for every start: a whole step and a whole evaluation, then undone.

It finds what would end the run later: an optimizer that refuses the gradients, a last batch that is too
small for batch norm, outputs that a metric does not take. The schedule of the learning rate is not advanced
here: `LearningRate` has already run a copy of it.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from torchconsole.engine.components.parameters import enter_train_mode
from torchconsole.engine.components.user_errors import describe_error
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.protocol.reports import StepMemory
from torchconsole.engine.text import error_summary
from torchconsole.engine.training.elements import count_bytes, dense_parts, is_finite
from torchconsole.engine.training.evaluation_trial import detached, first_samples, try_evaluation
from torchconsole.engine.training.failures import is_out_of_memory
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.preserve import preserve
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.state_watch import StateWatch, watch_schedule
from torchconsole.engine.training.step import MOST_OVERFLOWS, TrainingStep
from torchconsole.engine.training.trial import (
    Batch,
    backward,
    forward,
    raise_unless_misfit,
)

log = logging.getLogger(__name__)

SMALLEST_SCALE = 1.0
"""Scale of the fp16 scaler, which halves it with each step that it skips, below which nothing is tried."""

GRADIENT_SCALE = 1024.0
"""Factor of the loss for gradient norms in fp16: gradients vanish without it and overflow at the scaler's."""

TOLERANCES = {"cpu": 1e-5, "cuda": 1e-3}
HALF_TOLERANCE = 3e-2
"""Relative difference of two losses from which on they are not computed from the same state."""

SHORT_STEP, MOST_STEPS = 0.02, 3
"""A step shorter than this (seconds) is timed several times."""


@dataclass(frozen=True)
class DryRun:
    """What one dry run saw. Tensors are without their graph and stay on the device."""

    batch: Batch
    """The first training batch, as model and loss get it."""
    outputs: object
    """The model's outputs for it in train mode."""
    loss: float
    gradients: dict[str, Tensor | None]
    """Norm of the gradient of each parameter that requires one; None where no gradient arrived."""
    targets_require_grad: bool
    eval_batch: Batch
    """Up to `data.batch_size` samples of the first validation batch."""
    eval_outputs: object
    """The model's outputs for it in eval mode."""
    eval_outputs_again: object
    """The same in a second pass."""
    buffers_changed_in_eval: list[str]
    """Names of the buffers that the evaluation changed."""
    metrics: Metrics
    """Values of all metrics on the evaluated batches."""
    step_seconds: float
    """Duration of a whole optimizer step; 0 if none fits into one device (`_steps_that_fit`)."""
    batch_seconds: float
    """Time to load a training batch, as given to `dry_run`."""
    memory_bytes: int | None
    """Peak of a step on a GPU; on the CPU weights, gradients, optimizer state and saved activations."""
    memory_parts: StepMemory | None
    """What holds it; None if `memory_bytes` is."""
    scaler_skipped: bool
    """Whether the fp16 scaler skipped every step, whatever its scale."""
    nonfinite_weights: list[str]
    """Names of the trained weights that are nan or infinite after the steps."""
    unsaved_state: list[str]
    """What of user code changes or draws random numbers, and is in no checkpoint; found by a heuristic."""


def dry_run(
    setup: TrainingSetup, batch: Batch, batch_seconds: float = 0.0, *, with_test: bool = False
) -> DryRun:
    """Make a whole step and a whole evaluation; afterwards the training's state is as before, bit for bit.

    `batch` is the first training batch, loaded in `batch_seconds`. `with_test` evaluates a batch of the test
    set as well. Raises ComponentError and DataError, which name the key to change.
    """
    modules = [setup.model, setup.loss_fn, *([setup.ema.module] if setup.ema else [])]
    watch = StateWatch(setup.state_roots)
    with preserve(modules, setup.optimizer, setup.precision.scaler, setup.learning_rate.schedulers):
        enter_train_mode(setup.model, setup.preset.model, 0)
        watch.look()
        with _measured_memory(setup) as memory:
            seen = forward(setup, batch)
            outputs, loss = detached(seen.outputs), seen.loss.item()
            scale = GRADIENT_SCALE if setup.precision.scaler else 1.0
            backward(setup, batch, seen, scale)
            del seen  # its tensors would count for the memory of the next step
        gradients = _gradient_norms(setup.model, scale)
        watch.look()
        steps = _steps_that_fit(setup, batch)
        memory_parts = memory.parts(setup) if steps else None
        memory_bytes = memory.total(memory_parts) if steps else None
        watch.look()
        evaluated = try_evaluation(setup, with_test=with_test)
        _try_last_batch(setup, batch)
        watch.look()
        unsaved = watch_schedule(setup.learning_rate)
    setup.metrics.reset()
    setup.changing = watch.changing()
    if setup.data.one_by_one is not None:
        unsaved += setup.data.one_by_one.describe_state()
    return DryRun(
        batch=batch,
        outputs=outputs,
        loss=loss,
        gradients=gradients,
        targets_require_grad=batch[1].requires_grad or setup.data.targets_require_grad,
        eval_batch=evaluated.batch,
        eval_outputs=evaluated.outputs,
        eval_outputs_again=evaluated.outputs_again,
        buffers_changed_in_eval=evaluated.changed_buffers,
        metrics=evaluated.metrics,
        step_seconds=steps.seconds if steps else 0.0,
        batch_seconds=batch_seconds,
        memory_bytes=memory_bytes,
        memory_parts=memory_parts,
        scaler_skipped=steps is not None and steps.skipped,
        nonfinite_weights=steps.nonfinite_weights if steps else [],
        unsaved_state=[*(watch.unsaved() or _unseen_state(setup, watch, loss)), *unsaved],
    )


def _unseen_state(setup: TrainingSetup, watch: StateWatch, loss: float) -> list[str]:
    """Describe state that was not found, if the first batch has another loss than in its first pass."""
    first = setup.first_loss
    # A generator that each first pass makes anew has no state to start from.
    if first is None or not math.isfinite(first - loss) or watch.makes_generators:
        return []
    is_half = setup.precision.name != "fp32"
    tolerance = HALF_TOLERANCE if is_half else TOLERANCES.get(setup.device.type, max(TOLERANCES.values()))
    if abs(loss - first) <= tolerance * max(1.0, abs(first)):
        return []
    return ["the model or the loss (from the same state, the first batch has another loss each time)"]


class _Memory:
    """The memory of a step: what torch allocated on a GPU at most, or what a step keeps on the CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_gpu = device.type == "cuda"
        self._before = torch.cuda.memory_allocated(device) if self._on_gpu else 0
        self._activations: dict[int, int] = {}
        self._has_failed = False

    def save(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd saves for the backward pass."""
        with self._measuring():
            for part in dense_parts(tensor):
                storage = part.untyped_storage()
                self._activations[storage.data_ptr()] = storage.nbytes()
        return tensor

    def parts(self, setup: TrainingSetup) -> StepMemory | None:
        """Return the parts in bytes; None if torch does not tell, and for compiled code on the CPU."""
        measured: StepMemory | None = None
        with self._measuring():
            measured = self._parts(setup)
        return None if self._has_failed else measured

    def total(self, parts: StepMemory | None) -> int | None:
        """Return the bytes of a step with these parts; on a GPU with the data and all else that it holds."""
        if parts is None:
            return None
        return torch.cuda.max_memory_allocated(self._device) if self._on_gpu else sum(dict(parts).values())

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """Let no tensor without memory of its own, such as a subclass that wraps others, end the run."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a subclass of Tensor may raise anything
            if not self._has_failed:
                log.info("the memory of a step cannot be measured: %s", error_summary(error))
            self._has_failed = True

    def _parts(self, setup: TrainingSetup) -> StepMemory | None:
        if self._device.type not in ("cpu", "cuda") or (not self._on_gpu and setup.preset.training.compile):
            return None
        weights = list(setup.model.parameters())
        for weight in weights:
            for part in dense_parts(weight):
                # Autograd saves the weights as well.
                self._activations.pop(part.untyped_storage().data_ptr(), None)
        states = [value for values in setup.optimizer.state.values() for value in values.values()]
        gradients = _sum_of_bytes(weight for weight in weights if weight.requires_grad)
        optimizer = _sum_of_bytes(value for value in states if isinstance(value, Tensor))
        activations = sum(self._activations.values())
        if self._on_gpu:
            added = torch.cuda.max_memory_allocated(self._device) - self._before
            activations = max(0, added - gradients - optimizer)
        return StepMemory(
            parameters=_sum_of_bytes(weights),
            buffers=_sum_of_bytes(setup.model.buffers()),
            gradients=gradients,
            optimizer=optimizer,
            activations=activations,
        )


def _sum_of_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(map(count_bytes, tensors))


@contextmanager
def _measured_memory(setup: TrainingSetup) -> Iterator[_Memory]:
    """Measure the memory of the passes in this block."""
    memory = _Memory(setup.device)
    if setup.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(setup.device)
    observed = setup.device.type == "cpu" and not setup.preset.training.compile
    with saved_tensors_hooks(memory.save, _unchanged) if observed else nullcontext():
        yield memory


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


def _gradient_norms(model: nn.Module, scale: float) -> dict[str, Tensor | None]:
    """Return the norm of each parameter's gradient, and remove the gradients."""
    norms: dict[str, Tensor | None] = {}
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        if parameter.requires_grad:
            norms[name] = None if gradient is None else dense_parts(gradient)[0].float().norm() / scale
        parameter.grad = None
    return norms


@dataclass(frozen=True)
class _Steps:
    """Optimizer steps: whether the scaler skipped all of them, a step's duration, see `DryRun`."""

    skipped: bool
    seconds: float
    nonfinite_weights: list[str]


def _steps_that_fit(setup: TrainingSetup, batch: Batch) -> _Steps | None:
    """Make whole steps; None if the optimizer's state does not fit, but only a part of it will be here.

    The processes that shard the training make a step together then.
    """
    try:
        return _whole_steps(setup, batch)
    except Exception as error:  # also of other types than torch.OutOfMemoryError
        if not (setup.shards and is_out_of_memory(error)):
            raise
        log.info("the optimizer's state does not fit into one device; it is sharded before the first step")
        setup.optimizer.state.clear()  # `preserve` restores it
        return None


def _whole_steps(setup: TrainingSetup, batch: Batch) -> _Steps:
    """Make whole optimizer steps: several if they are short, and one that the fp16 scaler does not skip.

    It skips steps until its scale is small enough, but a training fails after `MOST_OVERFLOWS` of them.
    """
    seconds: list[float] = []
    skipped, nonfinite = False, list[str]()
    scaler = setup.precision.scaler
    for _ in range(MOST_OVERFLOWS):
        scale = scaler.get_scale() if scaler else SMALLEST_SCALE
        begin = time.perf_counter()
        skipped = _whole_step(setup, batch).skipped
        _wait_for(setup.device)
        seconds.append(time.perf_counter() - begin)
        if skipped and scale <= SMALLEST_SCALE:
            break
        if not skipped:
            nonfinite = _nonfinite_weights(setup.model)
            if nonfinite or seconds[-1] > SHORT_STEP or len(seconds) >= MOST_STEPS:
                break
    return _Steps(skipped, statistics.median(seconds), nonfinite)


def _nonfinite_weights(model: nn.Module) -> list[str]:
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    return [name for name, weight in trained if not is_finite(weight)]


def _whole_step(setup: TrainingSetup, batch: Batch) -> TrainingStep:
    """Make one step; a step over several batches gets the same one several times."""
    step = TrainingStep(setup, Progress(), LossMeter())
    inputs, targets = batch
    try:
        while not step(inputs.detach().clone(), targets.detach().clone()):
            pass
    except Exception as error:  # the optimizer may be the user's
        raise_unless_misfit(setup, error)
        raise ComponentError(
            f"optimizer: {setup.preset.optimizer.name} cannot make a step with this model: "
            f"{describe_error(error)}"
        ) from error
    return step


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _try_last_batch(setup: TrainingSetup, batch: Batch) -> None:
    """Train on a batch as large as the last one of an epoch, after an evaluation has left its traces."""
    data, size = setup.data.train, len(batch[1])
    count = (data.samples_per_epoch - 1) % setup.preset.data.batch_size + 1
    enter_train_mode(setup.model, setup.preset.model, 0)
    last = first_samples(batch, min(count, size))
    try:
        backward(setup, last, forward(setup, last))
    except ComponentError as error:
        cause = error.__cause__ or error
        if "Inference tensors" in str(cause):
            raise ComponentError(
                "model: it trains with a tensor that it created during an evaluation, without gradients; "
                "create it in __init__ with register_buffer, or only where self.training is true"
            ) from error
        if count >= size:
            raise
        samples = "1 sample" if count == 1 else f"{count:,} samples"
        raise ComponentError(
            f"data.batch_size: the last batch of an epoch has only {samples}, and the model cannot train on "
            f"it; set data.drop_last = true, or another data.batch_size: {describe_error(cause)}"
        ) from error
