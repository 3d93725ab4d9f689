"""The classes of torch and the arguments that they take, available without importing torch.

A process with torch writes the catalogue once per version (`engine.analysis.catalogue_builder`). Checking a
preset's names and arguments against it finds all errors at once, before anything is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Any, Literal

from pydantic import BaseModel

from torchconsole.engine.config.data_schema import DataConfig, TargetTransformConfig, TransformConfig
from torchconsole.engine.config.schema import (
    LayerConfig,
    LossConfig,
    MetricConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    SchedulerConfig,
)
from torchconsole.engine.config.user_code import is_user_code, search_folders, source_file
from torchconsole.engine.config.validation_errors import dotted, format_value
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.text import did_you_mean

Kind = Literal[
    "data",
    "transform",
    "batch transform",
    "target transform",
    "model",
    "layer",
    "loss",
    "optimizer",
    "schedule",
    "scheduler",
    "metric",
    "init",
]

DETERMINISTIC_TRANSFORMS = {
    *("CenterCrop", "Pad", "Resize"),
    *("Grayscale", "Identity", "LinearTransformation", "Normalize", "RGB"),
    *("ConvertImageDtype", "PILToTensor", "ToDtype", "ToImage", "ToPILImage", "ToPureTensor", "ToTensor"),
}
"""Transforms that draw no random numbers, so that their results can be cached."""

SECTIONS: dict[Kind, type[BaseModel]] = {
    "data": DataConfig,
    "transform": TransformConfig,
    "batch transform": TransformConfig,
    "target transform": TargetTransformConfig,
    "model": ModelConfig,
    "layer": LayerConfig,
    "loss": LossConfig,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "scheduler": SchedulerConfig,
    "metric": MetricConfig,
}
"""The section of each kind of component; fields of the section are not arguments of the component."""


class Signature(BaseModel):
    """The arguments of a component that a preset may set."""

    arguments: dict[str, bool]
    """Name -> whether the argument is required."""
    defaults: dict[str, str] = {}
    """Name -> default of an argument, as Python writes it; those without one are left out."""
    open_ended: bool = False
    """Whether other keyword arguments are accepted as well."""
    unsupported: str = ""
    """Why the component cannot be used in a preset; empty if it can."""


class Catalogue(BaseModel):
    """Kind -> name -> signature, for one pair of torch and torchvision versions."""

    versions: dict[str, str]
    kinds: dict[Kind, dict[str, Signature]]


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that a catalogue describes, without importing them."""
    return {name: metadata.version(name) for name in ("torchconsole", "torch", "torchvision", "torchmetrics")}


def check_components(content: dict[str, Any], catalogue: Catalogue) -> list[str]:
    """Return a line for each unknown name and argument of a component in a preset's plain content."""
    lines: list[str] = []
    for kind, section, table in components(content):
        name = table.get("name")
        if isinstance(name, str) and is_user_code(name):
            lines += _check_user_code(section, name, content)
        else:
            lines += _check_component(kind, section, table, catalogue.kinds[kind])
    return lines


def components(content: dict[str, Any]) -> Iterator[tuple[Kind, str, dict[str, Any]]]:
    """Yield (kind, section, table) of every component; skip what is not a table."""
    data, model, loss = (content.get(key) for key in ("data", "model", "loss"))
    if isinstance(data, dict):
        yield "data", "data", data
        if isinstance(data.get("target_transform"), dict):
            yield "target transform", "data.target_transform", data["target_transform"]
        transforms = data.get("transforms")
        for part, entries in transforms.items() if isinstance(transforms, dict) else ():
            kind: Kind = "batch transform" if part == "batch" else "transform"
            yield from _tables(kind, f"data.transforms.{dotted([part])}", entries)
    if isinstance(model, dict):
        yield "model", "model", model
        yield from _layers("model.layers", model.get("layers"))
        replaced = model.get("replace")
        for name, entry in replaced.items() if isinstance(replaced, dict) else ():
            section = f"model.replace.{dotted([name])}"
            if isinstance(entry, dict):
                yield "layer", section, entry
                entry = entry.get("layers")
                section += ".layers"
            yield from _layers(section, entry)
    if isinstance(loss, dict):
        yield "loss", "loss", loss
        yield from _tables("loss", "loss.also", loss.get("also"))
    if isinstance(content.get("optimizer"), dict):
        yield "optimizer", "optimizer", content["optimizer"]
    for _, section, part in _tables("schedule", "schedule", content.get("schedule")):
        yield "schedule", section, part
        yield from _tables("scheduler", f"{section}.schedulers", part.get("schedulers"))
    yield from _tables("metric", "metrics", content.get("metrics"))


def _layers(section: str, entries: Any) -> Iterator[tuple[Kind, str, dict[str, Any]]]:
    """Yield the layers of a list, each followed by those inside of it."""
    for kind, inner, table in _tables("layer", section, entries):
        yield kind, inner, table
        yield from _layers(f"{inner}.layers", table.get("layers"))


def _tables(kind: Kind, section: str, entries: Any) -> Iterator[tuple[Kind, str, dict[str, Any]]]:
    for number, table in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(table, dict):
            yield kind, f"{section}.{number}", table


def _check_component(
    kind: Kind, section: str, table: dict[str, Any], known: dict[str, Signature]
) -> list[str]:
    fields = SECTIONS[kind].model_fields
    name = table.get("name", fields["name"].default)
    if not isinstance(name, str) or name == "auto":
        return []
    if name not in known:
        return [f"{section}.name: unknown {kind} {format_value(name)}{did_you_mean(name, known)}"]
    signature = known[name]
    if signature.unsupported:
        return [f"{section}.name: {name} cannot be used: {signature.unsupported}"]
    given = [key for key in table if key not in fields]
    candidates = list(dict.fromkeys([*signature.arguments, *fields]))
    wrong = [] if signature.open_ended else [key for key in given if key not in signature.arguments]
    missing = [key for key, required in signature.arguments.items() if required and key not in table]
    return [
        *(
            f"{section}.{dotted([key])}: {name} takes no argument {format_value(key)}"
            f"{did_you_mean(key, candidates)}"
            for key in wrong
        ),
        *(f"{section}.{key}: {name} requires this argument" for key in missing),
    ]


def _check_user_code(section: str, name: str, content: dict[str, Any]) -> list[str]:
    """Check the name of user code in a preset without importing it."""
    try:
        source_file(section, name, search_folders(content))
    except ComponentError as error:
        return [str(error)]
    return []
