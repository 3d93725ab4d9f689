"""Transforms of torchvision.transforms.v2, or the user's own, by name: one input in, one input out.

They receive what the dataset decodes, images as uint8 (C, H, W). Conversion to float32 and normalization come
later, for whole batches on the device.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchconsole.engine.components.data.decoding import to_tensor
from torchconsole.engine.components.instantiate import UserCode, call, classes_of, pick
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.config.catalogue import DETERMINISTIC_TRANSFORMS
from torchconsole.engine.config.schema import TransformConfig
from torchconsole.engine.config.user_code import is_own
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.text import error_summary

NOT_FOR_ONE_IMAGE = {
    "MixUp": "it mixes whole batches",
    "CutMix": "it mixes whole batches",
    "FiveCrop": "it turns one image into several",
    "TenCrop": "it turns one image into several",
    "Lambda": "it needs a function; name your own transform as file.py:function",
    "ClampBoundingBoxes": "it is for boxes",
    "ClampKeyPoints": "it is for key points",
    "ConvertBoundingBoxFormat": "it is for boxes",
    "RandomIoUCrop": "it is for boxes",
    "SanitizeBoundingBoxes": "it is for boxes",
    "SanitizeKeyPoints": "it is for key points",
    "SetClampingMode": "it is for boxes",
    "UniformTemporalSubsample": "it is for videos",
}
"""Classes of torchvision.transforms.v2 that cannot be used for one image, and why."""

NESTED = ("Compose", "RandomApply", "RandomChoice", "RandomOrder")
"""Classes whose argument `transforms` is a list of transforms."""

TRANSFORM_ERRORS = (
    TypeError,
    ValueError,
    RuntimeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
)
"""What transforms raise for unsuitable inputs and arguments."""


@dataclass(frozen=True)
class Transform:
    """The transforms of one input, in order."""

    steps: Sequence[Callable[[Any], Any]]
    random: bool
    """Whether the result may differ from call to call."""
    images_only: bool
    where: str

    def __call__(self, tensor: Tensor) -> Tensor:
        """Apply all steps. Raises DataError if a step cannot be applied."""
        value: Any = tensor
        for number, step in enumerate(self.steps):
            try:
                value = step(value)
            except TRANSFORM_ERRORS as error:
                shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                reason = error_summary(error)
                raise DataError(f"{self.where}.{number}: cannot be applied to {shape}: {reason}") from error
        return to_tensor(value)


@dataclass(frozen=True)
class Transforms:
    """The transforms for training; and those for validation, test and prediction."""

    train: Transform | None
    val: Transform | None


def build_transform(where: str, configs: Sequence[TransformConfig], user_code: UserCode) -> Transform | None:
    """Combine all of `configs`; None if there are none. Raises ComponentError and TrustError."""
    if not configs:
        return None
    return Transform(
        steps=[_build(f"{where}.{number}", config, user_code) for number, config in enumerate(configs)],
        random=any(config.name not in DETERMINISTIC_TRANSFORMS for config in configs),
        images_only=any(not is_own(config.name) for config in configs),
        where=where,
    )


def _build(section: str, config: TransformConfig, user_code: UserCode) -> Callable[[Any], Any]:
    if is_own(config.name):
        return _build_user_transform(section, config, user_code)
    if config.name in NOT_FOR_ONE_IMAGE:
        raise ComponentError(
            f"{section}.name: {config.name} cannot be used: {NOT_FOR_ONE_IMAGE[config.name]}"
        )
    v2 = import_torchvision("transforms.v2")
    known = {k: v for k, v in classes_of(v2, v2.Transform).items() if k not in NOT_FOR_ONE_IMAGE}
    arguments = _arguments(section, config, user_code)
    step: Callable[[Any], Any] = call(section, pick(section, config.name, known), {}, arguments)
    return step


def _build_user_transform(section: str, config: TransformConfig, user_code: UserCode) -> Callable[[Any], Any]:
    """A class is constructed with the arguments; a function receives them after the input."""
    thing = user_code.resolve(section, config.name)
    if inspect.isclass(thing):
        thing = call(section, thing, {}, config.arguments)
    elif config.arguments:
        thing = functools.partial(thing, **config.arguments)
    if not callable(thing):
        raise ComponentError(f"{section}.name: {config.name} is not callable")
    step: Callable[[Any], Any] = thing
    return step


def _arguments(section: str, config: TransformConfig, user_code: UserCode) -> dict[str, Any]:
    """Return the arguments, with names from TOML replaced by the objects that torchvision takes."""
    arguments = dict(config.arguments)
    if config.name in NESTED and isinstance(arguments.get("transforms"), list):
        arguments["transforms"] = [
            _build(f"{section}.transforms.{number}", _nested(section, inner), user_code)
            for number, inner in enumerate(arguments["transforms"])
        ]
    v2 = import_torchvision("transforms.v2")
    for key, meanings in (
        ("interpolation", {mode.value: mode for mode in v2.InterpolationMode}),
        ("policy", {policy.value: policy for policy in v2.AutoAugmentPolicy}),
        ("dtype", {str(kind).removeprefix("torch."): kind for kind in (torch.float32, torch.uint8)}),
    ):
        if isinstance(arguments.get(key), str):
            arguments[key] = _meaning(f"{section}.{key}", arguments[key], meanings)
    return arguments


def _nested(section: str, inner: Any) -> TransformConfig:
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise ComponentError(f"{section}.transforms: each item must be a table with a name")
    return TransformConfig.model_validate(inner)


def _meaning(key: str, text: str, meanings: Mapping[str, Any]) -> Any:
    if text not in meanings:
        raise ComponentError(f"{key}: {text!r} is not one of {', '.join(sorted(meanings))}")
    return meanings[text]
