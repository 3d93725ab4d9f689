"""How far a training has come: counted in completed steps, epochs and consumed batches."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Progress:
    """`epoch` counts completed epochs, `batch` the batches consumed of the one under way.

    `revision` counts the changes of state that are not steps (an lr set by hand, an evaluation judged), so
    that two checkpoints of one step can be told apart. `evaluated` is the step of the last evaluation on
    schedule. `skipped` counts steps left out because of numbers that are not finite. `active_seconds` leaves
    pauses out.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    revision: int = 0
    evaluated: int = 0
    skipped: int = 0
    active_seconds: float = 0.0

    @property
    def current_epoch(self) -> int:
        """The epoch under way, from 1; between two epochs the one just completed."""
        return self.epoch + (self.batch > 0)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, fit for a checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        for name, value in state.items():
            setattr(self, name, value)
