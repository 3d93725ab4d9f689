"""A run without the console: with TORCHCONSOLE=off, the program trains as if torchconsole were not there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from torchconsole.engine.library.run_handle import E, Run, T

if TYPE_CHECKING:
    from torchconsole.engine.library.own_settings import Settings
    from torchconsole.engine.training.stopping import EarlyStopping


def is_off() -> bool:
    """Return whether TORCHCONSOLE=off (or 0) is in the environment."""
    return os.environ.get("TORCHCONSOLE", "").lower() in ("off", "0")


class Ended(BaseException):
    """Ends a loop without a data loader at its last step."""


class OffRun(Run):
    """Loops over epochs and batches, counts them, and ends them at the same step as with the console."""

    resumed = False
    step = 0
    epoch = 0
    folder: Path | None = None

    def __init__(self, total_steps: int | None = None, settings: Settings | None = None) -> None:
        """`settings` are those of early stopping; None without it, because torch is not imported then."""
        self._total_steps = total_steps
        self._stopping: EarlyStopping | None = None if settings is None else settings.early_stopping()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return isinstance(error, Ended)

    @property
    def _is_over(self) -> bool:
        too_many = self._total_steps is not None and self.step >= self._total_steps
        return too_many or (self._stopping is not None and self._stopping.exhausted)

    def keep(self, **objects: Any) -> None:
        """Do nothing."""

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the epochs."""
        before = self.epoch
        for number in range(count):
            if self._is_over:
                break
            self.epoch = number
            yield number
            self.epoch = before + number + 1

    def steps(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches."""
        if self._is_over:
            return
        last = self._total_steps
        for batch in batches:
            try:
                yield batch
            finally:
                self.step += 1
            if self.step == last:
                return

    def log(self, metrics: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Do nothing."""

    def evaluated(self, metrics: Mapping[str, Any]) -> None:
        """Count for early stopping."""
        stopping = self._stopping
        if stopping is None:
            return
        values = {name if "/" in name else f"val/{name}": float(value) for name, value in metrics.items()}
        if stopping.config.monitor in values:
            stopping.update(dict(values), self.step)

    def boundary(self, metrics: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Count the step."""
        self.step += 1
        if self._is_over:
            raise Ended

    def on_evaluate(self, function: E) -> E:
        """Do nothing."""
        return function

    def image(self, name: str, image: Any) -> None:
        """Do nothing."""

    def text(self, name: str, text: str) -> None:
        """Do nothing."""
