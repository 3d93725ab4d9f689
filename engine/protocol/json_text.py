"""Writes messages, states and reports as JSON, whatever their texts hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError


def dump_json(model: BaseModel, include: set[str] | Mapping[str, Any] | None = None) -> str:
    """Return a model, or the fields of it in `include`, as JSON on one line.

    The name of a file need not be valid UTF-8, but JSON must be: such bytes become question marks.
    """
    chosen: Any = include
    try:
        return model.model_dump_json(include=chosen)
    except PydanticSerializationError:
        content = json.dumps(model.model_dump(mode="json", include=chosen))
        valid = json.loads(content, parse_constant=lambda _: None)  # nan is null, as pydantic writes it
        return json.dumps(valid, ensure_ascii=False).encode(errors="replace").decode()
