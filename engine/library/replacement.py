"""Replaces a function or method of torch by one of torchconsole's, for the rest of this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def replace(owner: Any, name: str, replacement: Callable[..., Any]) -> None:
    """Replace a function or method by `replacement(original, ...)`."""
    original = getattr(owner, name)

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return replacement(original, *args, **kwargs)

    setattr(owner, name, call)
