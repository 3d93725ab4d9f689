"""What the sections of a preset are made of: fixed keys, or a component with its arguments."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]


def _device(name: str) -> str:
    if not re.search(r"^(cpu|mps|cuda(:\d+)?)$", name):
        raise ValueError("must be cpu, mps, cuda or cuda:N")
    return name


MappedDevice = Annotated[str, AfterValidator(_device)]
"""The device of a module; the engine does not choose one."""


class Section(BaseModel):
    """A section with fixed keys; unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Component(BaseModel):
    """A class of torch, named as in torch; further keys are arguments of its constructor.

    `name` can also refer to user code: "package.module:Thing" or "path/to/file.py:Thing".
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    name: str = Field(min_length=1, description="class name, package.module:Thing or file.py:Thing")

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the constructor."""
        return dict(self.model_extra or {})
