"""One evaluation of the dry run: real batches through the model, the loss and every metric."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchconsole.engine.components.data import EvalBatches
from torchconsole.engine.components.user_errors import describe_error
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.training.elements import same_elements
from torchconsole.engine.training.evaluation import evaluate
from torchconsole.engine.training.parts import check_monitors
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.trial import (
    Batch,
    describe_outputs,
    forward,
    raise_unless_misfit,
)


@dataclass(frozen=True)
class EvaluationTrial:
    """What an evaluation saw; see `DryRun`."""

    batch: Batch
    outputs: object
    outputs_again: object
    changed_buffers: list[str]
    metrics: Metrics


def try_evaluation(setup: TrainingSetup, *, with_test: bool) -> EvaluationTrial:
    """Evaluate the first validation batch, and one as large as the last; of the test set too if asked for.

    Leaves the model in eval mode. Raises ComponentError for outputs that the loss or a metric does not take,
    and DataError for samples that cannot be read.
    """
    first = _first_batch(setup.data.val)
    before = {name: buffer.clone() for name, buffer in setup.model.named_buffers()}
    setup.model.eval()
    batch = first_samples(first, min(setup.preset.data.batch_size, len(first[1])))
    outputs, again = (_outputs(setup, batch) for _ in range(2))
    metrics = _evaluate(setup, "validation", [first, *_last_batch(setup.data.val, first)])
    check_monitors(setup.preset, list(metrics))
    changed = [
        name
        for name, buffer in setup.model.named_buffers()
        if name in before and not same_elements(buffer, before[name])
    ]
    if with_test and setup.data.test is not None:
        test = _first_batch(setup.data.test)
        _evaluate(setup, "test", [test, *_last_batch(setup.data.test, test)])
    return EvaluationTrial(batch, outputs, again, changed, metrics)


def first_samples(batch: Batch, count: int) -> Batch:
    """Return the first samples of a batch."""
    inputs, targets = batch
    return inputs[:count], targets[:count]


def detached(outputs: object) -> object:
    """Return outputs without their graph, and as tensors that are not bound to inference mode."""
    if isinstance(outputs, Tensor):
        return outputs.detach().clone()
    if isinstance(outputs, tuple | list):
        items = [detached(item) for item in outputs]
        return items if isinstance(outputs, list) else tuple(items)
    if isinstance(outputs, dict):
        return {key: detached(value) for key, value in outputs.items()}
    return outputs


def _first_batch(batches: EvalBatches) -> Batch:
    try:
        return next(iter(batches))
    except StopIteration:
        raise DataError("data: the validation set is empty; set data.val_split") from None


def _last_batch(batches: EvalBatches, first: Batch) -> Iterator[Batch]:
    """Yield a batch of the size of the last one if it is a smaller one."""
    size = len(first[1])
    if rest := batches.samples % size:
        yield first_samples(first, rest)


def _outputs(setup: TrainingSetup, batch: Batch) -> object:
    try:
        with torch.inference_mode():
            outputs = forward(setup, batch).outputs
        return detached(outputs)
    except ComponentError as error:
        raise _in_evaluation("validation", error) from error


def _in_evaluation(part: str, error: ComponentError) -> ComponentError:
    """Return an error that says that it comes from an evaluation: the same in training has not failed."""
    return ComponentError(f"evaluation of the {part} data: {error}")


def _evaluate(setup: TrainingSetup, part: str, batches: list[Batch]) -> Metrics:
    """Evaluate as the run will. Raises ComponentError that says what does not fit what."""
    copies = [(inputs.clone(), targets.clone()) for inputs, targets in batches]
    try:
        metrics = evaluate(setup.model, setup.loss_fn, copies, setup.metrics, setup.precision.autocast)
    except Exception as error:  # user code may raise anything
        if not isinstance(error, ComponentError):
            raise_unless_misfit(setup, error)
        for batch in batches:
            _explain(setup, part, batch, is_last=batch is not batches[0])
        if isinstance(error, ComponentError):
            raise _in_evaluation(part, error) from error
        raise ComponentError(f"evaluation: {describe_error(error)}") from error
    setup.metrics.check()
    return metrics


def _explain(setup: TrainingSetup, part: str, batch: Batch, *, is_last: bool) -> None:
    """Repeat an evaluation that failed step by step. Raises ComponentError for the step that fails."""
    try:
        with torch.inference_mode():
            outputs = forward(setup, batch).outputs
        if isinstance(outputs, Tensor) and outputs.shape[:1] != batch[1].shape[:1]:
            raise ComponentError(
                f"model: {setup.preset.model.name} returns {describe_outputs(outputs)} for a batch of "
                f"{len(batch[1]):,}; let its forward keep the batch dimension: flatten(1), not squeeze()"
            )
    except ComponentError as error:
        if not is_last:
            size = setup.preset.data.batch_size
            remedy = f"; set data.eval_batch_size = {size} if it takes only batches as large as in training"
            raise ComponentError(
                f"evaluation of the {part} data: {error}{remedy if len(batch[1]) != size else ''}"
            ) from error
        samples = "1 sample" if len(batch[1]) == 1 else f"{len(batch[1]):,} samples"
        raise ComponentError(
            f"data.eval_batch_size: the last batch of the {part} data has {samples}, and the model cannot "
            f"evaluate it; set another data.eval_batch_size, or fix the model: {error}"
        ) from error
    if not isinstance(outputs, Tensor):
        raise ComponentError(
            f"model: {setup.preset.model.name} returns {describe_outputs(outputs)} in eval mode, but metrics "
            "need one tensor; return one tensor from its forward unless self.training, or set metrics = []"
        )
