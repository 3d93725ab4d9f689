"""Observes torch while a program trains: losses by `backward`, steps by optimizers, epochs by data loaders.

Written for torch 2.8 and up. What it replaces keeps its meaning; nothing is replaced in forked children.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, ref

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import DataLoader

from torchconsole.engine.components.torch_compat import LOADER_ITERATOR, skip_in_compilation
from torchconsole.engine.library.replacement import replace
from torchconsole.engine.library.watched_run import WatchedRun
from torchconsole.engine.training.command_queue import CommandQueue

LEAD_STEPS = 20
"""Steps of one optimizer without one of the first, after which it takes the place of the first."""

LATER_LEAD_STEPS = 2
"""The same for an optimizer that was made after the first steps: most often it begins a new phase."""


class Instruments:
    """Connects torch with a run. A step ends when the optimizer that stepped first steps again.

    Another optimizer takes its place if the program goes on without it, as in a second phase of a training.
    A program that never makes an optimizer steps with each `backward`.
    """

    def __init__(self, run: WatchedRun, commands: CommandQueue) -> None:
        self._run = run
        self._commands = commands
        self._first: ref[Optimizer] | None = None
        self._alone: WeakKeyDictionary[Optimizer, int] = WeakKeyDictionary()
        self._later: WeakSet[Optimizer] = WeakSet()
        self._makes_optimizers = False
        self._loss_sum: Tensor | None = None
        self._latest_loss: Tensor | None = None
        self._in_step = False
        self._passes = 0
        self._latest_pass: tuple[int, int | None] = (0, None)
        self._epoch_pass = 0
        self._unscaled: tuple[ref[Tensor], Tensor] | None = None
        self._is_active = True

    def install(self) -> None:
        """Replace what has to be replaced, for the rest of this process."""
        os.register_at_fork(after_in_child=self.retire)
        register_optimizer_step_pre_hook(self._before_step)
        register_optimizer_step_post_hook(self._after_step)
        replace(Optimizer, "__init__", self._optimizer_made)
        replace(torch.autograd, "backward", self._backward)
        replace(torch.amp.GradScaler, "scale", self._scale)
        replace(DataLoader, "__iter__", self._iterate)
        replace(LOADER_ITERATOR, "__next__", self._next_batch)

    def retire(self) -> None:
        """Observe nothing any more."""
        self._is_active = False

    def _optimizer_made(
        self, original: Callable[..., None], optimizer: Optimizer, *args: Any, **kwargs: Any
    ) -> None:
        original(optimizer, *args, **kwargs)
        if self._first is not None:
            self._later.add(optimizer)
        if not self._makes_optimizers:
            self._makes_optimizers = True
            skip_in_compilation("torchconsole.engine")

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self._is_active:
            return
        if optimizer not in self._alone:
            self._alone[optimizer] = 0
            self._run.add_optimizer(optimizer)
        if self._is_first(optimizer):
            self._begin_step()
        self._take_losses(optimizer)
        self._in_step = True
        self._run.learning_rate.put_in_force(optimizer)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._is_active:
            self._run.learning_rate.restore(optimizer)
            self._in_step = False
            if self._latest_loss is not None:  # of a closure
                self._loss_sum = self._latest_loss
                self._take_losses(optimizer)

    def _is_first(self, optimizer: Optimizer) -> bool:
        """Whether a step of this optimizer begins a step of the run."""
        first = self._first and self._first()
        if first is not None and first is not optimizer:
            self._alone[optimizer] += 1
            needed = LATER_LEAD_STEPS if optimizer in self._later else LEAD_STEPS
            if self._alone[optimizer] < needed:
                return False
            self._run.count_steps(needed - 1)
        if first is not optimizer:
            self._first = ref(optimizer)
        for known in list(self._alone):
            self._alone[known] = 0
        return True

    def _begin_step(self) -> None:
        if not self._run.has_begun:
            self._run.begin()
        else:
            self._run.boundary()
        number, batches = self._latest_pass
        if number != self._epoch_pass:
            self._epoch_pass = number
            self._run.begin_epoch(batches)

    def _add_loss(self, loss: Tensor) -> None:
        total = self._loss_sum
        self._loss_sum = loss if total is None else total.to(loss.device) + loss
        self._latest_loss = loss

    def _take_losses(self, optimizer: Optimizer | None) -> None:
        """Give the losses since the last step to an optimizer; their sum is what the step minimizes."""
        if self._loss_sum is not None:
            self._run.add_loss(self._loss_sum, optimizer)
            self._loss_sum = self._latest_loss = None

    def _backward(self, original: Callable[..., None], tensors: Any, *args: Any, **kwargs: Any) -> None:
        if not self._is_active:
            original(tensors, *args, **kwargs)
            return
        by_hand = not (self._makes_optimizers or self._in_step)
        if by_hand:
            self._begin_step()
        for tensor in [tensors] if isinstance(tensors, Tensor) else list(tensors):
            if tensor.numel() == 1 and tensor.is_floating_point():
                # A copy: the program, or the next replay of a CUDA graph, may change its tensor.
                self._add_loss(self._without_scale(tensor).clone().reshape(()).float())
        original(tensors, *args, **kwargs)
        if by_hand:
            self._take_losses(None)

    def _without_scale(self, loss: Tensor) -> Tensor:
        if self._unscaled is not None:
            scaled, unscaled = self._unscaled
            self._unscaled = None
            if scaled() is loss:
                return unscaled
        return loss.detach()

    def _scale(self, original: Callable[..., Any], scaler: Any, outputs: Any) -> Any:
        scaled = original(scaler, outputs)
        if isinstance(outputs, Tensor) and isinstance(scaled, Tensor):
            self._unscaled = (ref(scaled), outputs.detach())
        return scaled

    def _iterate(self, original: Callable[..., Any], loader: DataLoader[Any]) -> Any:
        iterator = original(loader)
        self._passes += 1
        try:
            iterator.torchconsole_pass = (self._passes, len(loader))
        except (AttributeError, TypeError, NotImplementedError):  # no length: an iterable dataset
            iterator.torchconsole_pass = (self._passes, None)
        iterator.torchconsole_batch = loader.batch_size or 0
        return iterator

    def _next_batch(self, original: Callable[..., Any], iterator: Any) -> Any:
        if not self._is_active:
            return original(iterator)
        begin, meter = time.monotonic(), self._run.meter
        if meter is None:  # else other processes would wait for this one
            self._commands.waits_since = begin
        try:
            batch = original(iterator)
        except StopIteration:
            self._leave_out()
            raise
        finally:
            self._commands.waits_since = None
        self._commands.batches += 1
        self._latest_pass = getattr(iterator, "torchconsole_pass", self._latest_pass)
        if meter is not None:
            if torch.is_grad_enabled():
                meter.add_wait(time.monotonic() - begin, getattr(iterator, "torchconsole_batch", 0))
            else:
                self._leave_out()
        return batch

    def _leave_out(self) -> None:
        """Leave out a step in which there is an evaluation, or what a program does after an epoch."""
        if self._run.meter is not None:
            self._run.meter.leave_out()
