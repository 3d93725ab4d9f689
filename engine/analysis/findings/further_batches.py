"""Tries further training batches, because a layer may be used only for some samples or by chance."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from torchconsole.engine.components.parameters import enter_train_mode
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.training.preserve import preserve
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.trial import Batch, backward, forward

MOST_TRIES = 16

MAX_SECONDS = 1.5


@dataclass(frozen=True)
class WithoutGradient:
    """The parameters that got no gradient in any of several training steps."""

    names: list[str]
    tries: int
    varies: bool
    """Whether others got one in some of the steps only."""


def without_gradient(setup: TrainingSetup, batch: Batch, names: list[str]) -> WithoutGradient:
    """Repeat the forward and backward pass for `names`, which got no gradient for `batch`.

    Each pass draws other random numbers, and each second one takes another batch. Stops when all have one.
    The training's state stays as it was.
    """
    parameters = dict(setup.model.named_parameters())
    missing, always, tries = list(names), set(names), 1
    has_changed = False
    end = time.monotonic() + MAX_SECONDS
    with preserve([setup.model, setup.loss_fn]):
        enter_train_mode(setup.model, setup.preset.model, 0)
        with suppress(TorchconsoleError):
            for tried in _batches(setup, batch):
                setup.model.zero_grad(set_to_none=True)
                backward(setup, tried, forward(setup, tried))
                tries += 1
                without = {
                    name for name, each in parameters.items() if each.requires_grad and each.grad is None
                }
                has_changed |= without != always
                missing = [name for name in missing if name in without]
                if not missing or tries > MOST_TRIES or time.monotonic() > end:
                    break
    return WithoutGradient(missing, tries, has_changed)


def _batches(setup: TrainingSetup, batch: Batch) -> Iterator[Batch]:
    """Yield the first batch and, between its repetitions, the others of the first epoch."""
    yield batch
    others = iter(setup.data.train.epoch(0, 0))
    next(others, None)
    for _ in range(MOST_TRIES):
        yield next(others, batch)
        yield batch
