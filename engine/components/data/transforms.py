"""Builds the transforms that a preset names, from torchvision.transforms.v2 or from user code.

`data.transforms.train` and `.val` transform one input: what the dataset decodes, images as uint8 (C, H, W).
Conversion to float32 and normalization come later, for whole batches on the device. `data.transforms.batch`
then mixes the inputs and targets of a training batch: MixUp, CutMix.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchconsole.engine.components.data.decoding import to_tensor
from torchconsole.engine.components.data.order import (
    MIX,
    sample_seed,
    stream_seed,
)
from torchconsole.engine.components.data.sample_randomness import SampleRandomness
from torchconsole.engine.components.data.types import DataSpec, TrainBatches
from torchconsole.engine.components.devices import DEVICE_ERRORS
from torchconsole.engine.components.instantiate import UserCode, call, classes_of, pick
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.config.catalogue import DETERMINISTIC_TRANSFORMS
from torchconsole.engine.config.data_schema import TransformConfig
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.text import error_summary, first_line

NOT_FOR_ONE_IMAGE = {
    "MixUp": "it mixes whole batches",
    "CutMix": "it mixes whole batches",
    "FiveCrop": "it turns one image into several",
    "TenCrop": "it turns one image into several",
    "Lambda": "it needs a function; name a function of yours as file.py:function",
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


MAX_STEPS = 100
"""Number of items above which a list is not one of transforms."""

MIXERS = ("MixUp", "CutMix")
"""Classes of torchvision.transforms.v2 that mix a batch (Zhang et al. 2017, Yun et al. 2019)."""

BATCH_SECTION = "data.transforms.batch"

BatchMixer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps the inputs and targets of a batch to mixed ones."""


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
                reason = error_summary(error) + advice_on(step, value)
                raise DataError(f"{self.where}.{number}: cannot be applied to {shape}: {reason}") from error
        return to_tensor(value)


class ToTensor:
    """torchvision's ToTensor also for images that are tensors: floats, where 255 has become 1."""

    def __call__(self, value: Any) -> Tensor:
        """Return an image, or a batch of them, as float32."""
        tensor = value if isinstance(value, Tensor) else to_tensor(value)
        return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor.float()


def advice_on(step: Any, value: Any) -> str:
    """Return the end of a message about a step that failed for this value; usually empty."""
    is_bytes = isinstance(value, Tensor) and value.dtype == torch.uint8
    if type(step).__name__ == "Normalize" and is_bytes:
        return '; put { name = "ToTensor" } before Normalize'
    return ""


def normalizes(transform: Any) -> bool:
    """Whether a transform, or one of those that it consists of, is a Normalize of any library."""
    if isinstance(transform, Transform):
        return normalizes(transform.steps)
    if isinstance(transform, list | tuple | torch.nn.Sequential | torch.nn.ModuleList):
        return len(transform) <= MAX_STEPS and any(normalizes(step) for step in transform)
    if isinstance(transform, dict):
        return len(transform) <= MAX_STEPS and normalizes(list(transform.values()))
    if type(transform).__name__ == "Normalize":
        return True
    inner = getattr(transform, "transforms", None)
    return isinstance(inner, list | tuple | torch.nn.ModuleList) and normalizes(list(inner))


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
        images_only=any(not is_user_code(config.name) for config in configs),
        where=where,
    )


def _build(section: str, config: TransformConfig, user_code: UserCode) -> Callable[[Any], Any]:
    if is_user_code(config.name):
        return _build_user_transform(section, config, user_code)
    if config.name in NOT_FOR_ONE_IMAGE:
        raise ComponentError(
            f"{section}.name: {config.name} cannot be used: {NOT_FOR_ONE_IMAGE[config.name]}"
        )
    v2 = import_torchvision("transforms.v2")
    known = {name: cls for name, cls in classes_of(v2, v2.Transform).items() if name not in NOT_FOR_ONE_IMAGE}
    known["ToTensor"] = ToTensor
    arguments = _arguments(section, config, user_code)
    step: Callable[[Any], Any] = call(section, pick(section, config.name, known), {}, arguments)
    return step


def _build_user_transform(section: str, config: TransformConfig, user_code: UserCode) -> Callable[[Any], Any]:
    """Construct a class with the arguments; pass them to a function after the input."""
    step: Any = user_code.resolve(section, config.name)
    if inspect.isclass(step):
        step = call(section, step, {}, config.arguments)
    elif config.arguments:
        step = functools.partial(step, **config.arguments)
    checked: Callable[[Any], Any] = _check_callable(section, config, step)
    return checked


def _check_callable(section: str, config: TransformConfig, step: Any) -> Any:
    if not callable(step):
        raise ComponentError(f"{section}.name: {config.name} is not callable; name a function or a class")
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
    for key, values in (
        ("interpolation", {mode.value: mode for mode in v2.InterpolationMode}),
        ("policy", {policy.value: policy for policy in v2.AutoAugmentPolicy}),
        ("dtype", {str(kind).removeprefix("torch."): kind for kind in (torch.float32, torch.uint8)}),
    ):
        if isinstance(arguments.get(key), str):
            arguments[key] = _named_value(f"{section}.{key}", arguments[key], values)
    return arguments


def _nested(section: str, inner: Any) -> TransformConfig:
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise ComponentError(
            f"{section}.transforms: each item must be a table with a name, "
            "for example { name = 'RandomInvert' }"
        )
    return TransformConfig.model_validate(inner)


def _named_value(key: str, name: str, values: Mapping[str, Any]) -> Any:
    if name not in values:
        raise ComponentError(f"{key}: {name!r} is not one of {', '.join(sorted(values))}")
    return values[name]


class MixedBatches:
    """Training batches, each mixed by one of `mixers`; the draw depends on (seed, epoch, batch) only.

    Class indices (B,) int64 become probabilities (B, C) float32.
    """

    def __init__(self, batches: TrainBatches, mixers: Sequence[BatchMixer], seed: int) -> None:
        self._batches = batches
        self._mixers = mixers
        self._seed = seed
        self._randomness = SampleRandomness({BATCH_SECTION: list(mixers)})
        self.batches_per_epoch = batches.batches_per_epoch
        self.samples_per_epoch = batches.samples_per_epoch

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """See `TrainBatches.epoch`. Raises ComponentError for batches that cannot be mixed."""
        stream = stream_seed(self._seed, epoch, MIX)
        for number, (inputs, targets) in enumerate(self._batches.epoch(epoch, start), start=start):
            with self._randomness.preserved():
                mix = functools.partial(self._mix, inputs, targets)
                mixed = self._randomness.read(sample_seed(stream, number), mix)
            yield mixed

    def _mix(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        chosen = int(torch.randint(len(self._mixers), ())) if len(self._mixers) > 1 else 0
        mixer, section = self._mixers[chosen], f"{BATCH_SECTION}.{chosen}"
        name = type(mixer).__name__
        if inputs.ndim != 4 and name in MIXERS:
            shape = tuple(inputs.shape[1:])
            raise ComponentError(
                f"{section}: {name} is for images, but an input has shape {shape}; remove it"
            )
        try:
            inputs, targets = mixer(inputs, targets)
        except DEVICE_ERRORS:
            raise
        except TRANSFORM_ERRORS as error:
            raise ComponentError(
                f"{section}: cannot be applied to inputs {tuple(inputs.shape)} and targets "
                f"{tuple(targets.shape)}: {first_line(error)}"
            ) from error
        return inputs, targets


def mix_batches(
    batches: TrainBatches, configs: Sequence[TransformConfig], spec: DataSpec, seed: int, user_code: UserCode
) -> TrainBatches:
    """Apply the batch transforms of `configs` to `batches`; return them as they are if there are none.

    Raises ComponentError for an unknown name or argument, TrustError for user code that is not trusted.
    """
    if not configs:
        return batches
    mixers = [
        _build_mixer(f"{BATCH_SECTION}.{number}", config, spec, user_code)
        for number, config in enumerate(configs)
    ]
    return MixedBatches(batches, mixers, seed)


def _build_mixer(section: str, config: TransformConfig, spec: DataSpec, user_code: UserCode) -> BatchMixer:
    mixer: Any
    if is_user_code(config.name):
        found = user_code.resolve(section, config.name)
        mixer = call(section, found, {}, config.arguments) if isinstance(found, type) else found
    else:
        v2 = import_torchvision("transforms.v2")
        factory = pick(section, config.name, {name: getattr(v2, name) for name in MIXERS})
        classes = spec.num_outputs if spec.task == "multiclass" else None
        mixer = call(section, factory, {"num_classes": classes}, config.arguments)
    checked: BatchMixer = _check_callable(section, config, mixer)
    return checked
