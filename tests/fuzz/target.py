"""A reader that is fuzzed. Any exception but the project's own is a fault."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from hypothesis.strategies import SearchStrategy


class Target(ABC):
    """A reader, with a folder of its own."""

    share: ClassVar[int]
    """How many inputs it gets while the others get theirs; a slow one gets few."""

    inputs: SearchStrategy[Any]

    @abstractmethod
    def use(self, given: Any) -> bool:
        """Read an input; returns whether it was accepted. Raises on a fault."""
