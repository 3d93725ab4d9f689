"""The loops of a program over its epochs and batches, and how a resumed run finds its place in them."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Generator, Iterable, Iterator
from types import GeneratorType
from typing import Any
from weakref import ref

from torchconsole.engine.errors import CheckpointError, RunError
from torchconsole.engine.library.frames import variables_of
from torchconsole.engine.library.kept_objects import has_hidden_generator
from torchconsole.engine.library.own_host import Host
from torchconsole.engine.library.own_loop import OwnLoop
from torchconsole.engine.library.run_handle import T
from torchconsole.engine.protocol.events import PhaseChanged
from torchconsole.engine.training.command_queue import Terminated

log = logging.getLogger(__name__)

SHOWN_SECONDS = 0.5
"""Between two reports of how many batches are skipped."""

NESTED = (
    "run.steps inside run.steps; use the inner loader directly, run.steps(zip(one, other)) for two loaders "
    "at once, and close() what keeps a loop that was left by `break`"
)

HIDDEN = (
    "a resume will not be exact: the data loader in this zip, enumerate or generator draws from a generator "
    "of its own; add it to run.keep, as in run.keep(generator=generator)"
)


class OwnLoops:
    """The loops of one run. What the program does until a resumed run continues, it does again."""

    def __init__(self, loop: OwnLoop, host: Host) -> None:
        self.saved: dict[str, Any] | None = None
        """The checkpoint from which the run continues, until it does."""
        self.is_in_epoch = False
        self._loop = loop
        self._host = host
        self._epoch_loops = 0
        self._passes = 0
        self._newest: ref[Generator[Any]] | None = None
        """The newest pass over batches, as long as the program has it."""

    @property
    def is_again(self) -> bool:
        """Whether the program does what it has done before the interruption, to get where it was."""
        return self.saved is not None

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the epochs. Raises RunError."""
        if type(count) is not int or count < 0:
            raise RunError(f"run.epochs({count!r}): the number of epochs is an integer")
        if self.is_in_epoch:
            raise RunError("run.epochs inside run.epochs; one loop over epochs ends before the next begins")
        return self._each_epoch(count)

    def _each_epoch(self, count: int) -> Iterator[int]:
        loop, kept, position = self._loop, self._loop.kept, self._loop.kept.position
        number = self._epoch_loops
        self._epoch_loops += 1
        if self.saved is not None and number < position.loop:
            return  # done before the run was interrupted
        if self.saved is None:
            position.begin_loop(number, loop.progress.epoch)
        loop.set_epochs(position.before + count)
        self.is_in_epoch = True
        try:
            while position.epoch < count and loop.limit is None:
                self._begin_epoch()
                yield position.epoch
                self.leave_pass()
                if self.saved is not None:
                    log.warning("not exact: the epoch has fewer loops over run.steps than before")
                    self.continue_run()
                position.begin_epoch(position.epoch + 1)
                kept.end_pass()
                loop.end_epoch()
        finally:
            self.leave_pass()
            self.is_in_epoch = False

    def _begin_epoch(self) -> None:
        loop, kept, position = self._loop, self._loop.kept, self._loop.kept.position
        self._passes = 0
        loop.progress.epoch = position.before + position.epoch + 1
        if position.is_between:
            self.continue_run()
        if self.saved is None:
            kept.note_before_pass()
        elif position.passed == 0:
            kept.restore_before_pass(self.saved)

    def steps(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches. Raises RunError."""
        if not self.is_in_epoch:
            raise RunError(
                "run.steps outside of run.epochs; put it into `for epoch in run.epochs(1):`, or end each "
                "step with run.boundary()"
            )
        if self._loop.is_evaluating:
            raise RunError("run.steps in the function of run.on_evaluate; use the loader directly")
        if not (hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")):
            raise RunError(f"run.steps: {type(batches).__name__} cannot be iterated; give it a data loader")
        if self._loop.is_in_step:
            raise RunError(NESTED)
        newest = self._each_step(batches)
        self._newest = ref(newest)
        return newest

    def _each_step(self, batches: Iterable[T]) -> Generator[T]:
        loop, kept, position = self._loop, self._loop.kept, self._loop.kept.position
        if loop.is_in_step:
            raise RunError(NESTED)
        number = self._passes
        self._passes += 1
        if self.saved is not None and number < position.passed:
            if number == position.passed - 1:
                kept.restore_before_pass(self.saved)
            return  # done before the run was interrupted
        iterator = self._begin_pass(number, batches)
        size = _batch_size(batches)
        while loop.limit is None:
            try:
                batch = self._next(iterator, size)
            except StopIteration:
                if loop.meter is not None:
                    loop.meter.leave_out()  # what is done after the epoch is part of that step
                break
            except Terminated:
                loop.checkpoints.save("stop")
                raise
            loop.is_in_step = True
            try:
                yield batch
            except GeneratorExit:  # by a `break` or an error of the program
                loop.leave_step()
                position.batch += 1
                kept.note_before_pass()
                raise
            position.batch += 1
            loop.end_step()
        kept.note_before_pass()

    def _begin_pass(self, number: int, batches: Iterable[T]) -> Iterator[T]:
        """Begin a pass, or the interrupted one again; return what gives its next batches."""
        loop, kept, position = self._loop, self._loop.kept, self._loop.kept.position
        if self.saved is None:
            position.begin_pass(number)
            kept.begin_pass(batches)
        else:
            kept.begin_pass_again(self.saved, batches)
        if not loop.has_begun:
            if hasattr(batches, "__next__") and has_hidden_generator(batches, kept.kept):
                log.warning(HIDDEN)
            loop.steps_per_epoch = _length(batches)
            loop.begin()
        if self.saved is None:
            loop.save_best_if_due()  # with the weights that were evaluated
        iterator = iter(batches)
        if self.saved is not None:
            if getattr(batches, "persistent_workers", False):
                log.warning("not bit-exact: persistent_workers keep random numbers from epoch to epoch")
            self._warn_about_enumerate()
            self._skip(iterator, position.batch)
            self.continue_run()
        return iterator

    def leave_pass(self) -> None:
        """End a pass that the program has left by `break`, but whose iterator it still has."""
        if (newest := self._newest_pass()) is not None:
            newest.close()

    def _newest_pass(self) -> Generator[Any] | None:
        return None if self._newest is None else self._newest()

    def _warn_about_enumerate(self) -> None:
        """Warn if the program counts the batches around `run.steps`: the count begins at 0 again."""
        newest = self._newest_pass()
        if self._loop.kept.position.batch and newest is not None and _is_counted(newest):
            log.warning(
                "enumerate(run.steps(loader)) counts from 0 again, in the middle of an epoch; if the "
                "training depends on that number, write run.steps(enumerate(loader))"
            )

    def _next(self, iterator: Iterator[T], size: int = 0) -> T:
        commands, meter = self._host.commands, self._loop.meter
        begin = time.monotonic()
        if meter is None or self.is_again:  # else the others, which train, would wait for this process
            commands.waits_since = begin
        try:
            batch = next(iterator)
        finally:
            commands.waits_since = None
        commands.batches += 1
        if meter is not None:
            meter.add_wait(time.monotonic() - begin, size)
        return batch

    def _skip(self, iterator: Iterator[Any], batches: int) -> None:
        """Take the batches that were consumed before the interruption, as they were taken then."""
        shown = 0.0
        for done in range(batches):
            if time.monotonic() - shown >= SHOWN_SECONDS:
                shown = time.monotonic()
                phase = PhaseChanged(
                    phase="loading data",
                    subject="batches done before",
                    done=done,
                    total=batches,
                    unit="batches",
                )
                self._host.events.emit(phase)
            try:
                self._next(iterator)
            except StopIteration:
                raise CheckpointError(
                    f"the data ends after {done:,} batches, and the checkpoint was taken after {batches:,}: "
                    "it is not the same data"
                ) from None
        if batches:
            self._host.events.emit(PhaseChanged(phase="training"))

    def continue_run(self) -> None:
        """Restore everything if the run continues from a checkpoint, which was taken right here."""
        if self.saved is not None:
            saved, self.saved = self.saved, None
            self._loop.kept.continue_from(saved)


def _is_counted(batches: Generator[Any]) -> bool:
    """Whether these batches are numbered by `enumerate`, directly or with a progress bar between them."""
    for counter in gc.get_objects():
        if type(counter) is enumerate:
            for counted in gc.get_referents(counter):
                frame = counted.gi_frame if isinstance(counted, GeneratorType) else None
                held = [] if frame is None else variables_of(frame).values()
                if any(each is batches for each in (counted, *held)):
                    return True
    return False


def _batch_size(batches: object) -> int:
    """Return how many samples are in each of these batches; 0 if unknown."""
    size = getattr(getattr(batches, "iterable", batches), "batch_size", None)  # also in a bar of tqdm
    return size if type(size) is int else 0


def _length(batches: object) -> int | None:
    try:
        return len(batches)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None
