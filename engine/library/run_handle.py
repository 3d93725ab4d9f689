"""`Run`, what `with torchconsole.run(...) as run` gives a training program. Needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

Evaluate = Callable[[], Mapping[str, Any]]
"""Evaluates the model; returns metrics by name."""

E = TypeVar("E", bound=Evaluate)


class Run(ABC):
    """A training program as a run that the console shows and steers; `help(torchconsole.run)` explains it.

    Steps and epochs count from the begin of the run, those before a resume included.
    """

    @abstractmethod
    def __enter__(self) -> Self:
        """Begin the run. Raises RunError."""

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """End the run. A stop by a command ends here, and the program goes on after the `with`."""

    @property
    @abstractmethod
    def resumed(self) -> bool:
        """Whether this run continues from a checkpoint."""

    @property
    @abstractmethod
    def step(self) -> int:
        """Number of steps done."""

    @property
    @abstractmethod
    def epoch(self) -> int:
        """Number of epochs done; in a loop over `epochs`, the number that it gave last."""

    @property
    @abstractmethod
    def folder(self) -> Path | None:
        """The run's folder; None if TORCHCONSOLE=off."""

    @abstractmethod
    def keep(self, **objects: Any) -> None:
        """Name everything that the training changes: checkpoints have its state, and a resume restores it.

        Models, optimizers, schedulers, scalers, averages (whatever has `state_dict` and `load_state_dict`),
        generators of random numbers, and lists and dicts of these or of plain values. Call it once, before
        the loop. Raises RunError, and CheckpointError if the checkpoint does not fit.
        """

    @abstractmethod
    def epochs(self, count: int) -> Iterator[int]:
        """Yield the epochs from 0 to `count` - 1, in a resumed run from the one where it continues.

        Ends early if `patience` or `total_steps` is reached. Raises RunError.
        """

    @abstractmethod
    def steps(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield each of `batches`, a data loader as a rule: each pass of the loop's body is a step.

        A resumed run continues with the very next batch. There `run.steps(enumerate(loader))` counts on, and
        `enumerate(run.steps(loader))` begins at 0. Raises RunError.
        """

    @abstractmethod
    def log(self, metrics: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Log metrics of the current step: numbers, or tensors with one element.

        Tensors on a GPU are read when a line is due, which is twice a second. A name without a slash becomes
        `train/NAME`. Raises RunError for what is no number.
        """

    @abstractmethod
    def evaluated(self, metrics: Mapping[str, Any]) -> None:
        """Report an evaluation: it decides about the best checkpoint and about early stopping.

        One without the monitored metric is only shown. A name without a slash becomes `val/NAME`. Raises
        RunError.
        """

    @abstractmethod
    def boundary(self, metrics: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """End a step of a loop without a data loader, and log its metrics as `log` does. Raises RunError."""

    @abstractmethod
    def on_evaluate(self, function: E) -> E:
        """Call `function` when somebody asks for an evaluation; it returns metrics. Works as a decorator.

        Random numbers and the training mode of what was kept are afterwards as before.
        """

    @abstractmethod
    def image(self, name: str, image: Any) -> None:
        """Save a picture in the run's folder: a tensor or array of shape (H, W), (C, H, W) or (H, W, C).

        Numbers are from 0 to 255 if they are integers, else from 0 to 1. Raises RunError.
        """

    @abstractmethod
    def text(self, name: str, text: str) -> None:
        """Save a text in the run's folder. Raises RunError."""
