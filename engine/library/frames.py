"""Reads the variables of the program's running functions, and leaves nothing of them behind."""

from __future__ import annotations

import inspect
from types import FrameType
from typing import Any


def variables_of(frame: FrameType) -> dict[str, Any]:
    """Return the variables of a function, as a copy, or those of a module or class.

    Up to Python 3.12, a frame that was asked for its variables keeps them. It would keep the program's
    tensors, models and optimizers alive until its function ends.
    """
    found = frame.f_locals
    if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return found
    variables = dict(found)
    if isinstance(found, dict):  # from Python 3.13 on it is a view of the function's own variables
        found.clear()
    return variables
