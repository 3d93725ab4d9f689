"""Builds the catalogue: the components of torch, torchvision and torchmetrics, and their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import nn, optim

from torchconsole.engine.components import losses, optimizers, schedulers
from torchconsole.engine.components.data import target_transform
from torchconsole.engine.components.data.sources import arrays, folders, tables, text_files, vision_sets
from torchconsole.engine.components.data.texts.tokenizing import TextOptions
from torchconsole.engine.components.data.transforms import MIXERS, NOT_FOR_ONE_IMAGE
from torchconsole.engine.components.initialization import init_functions
from torchconsole.engine.components.instantiate import NAMED, classes_of, parameters_of
from torchconsole.engine.components.metrics import known_metrics
from torchconsole.engine.components.models.layers import (
    CONTAINERS,
    FILLED_IN,
    known_layers,
    layer_arguments,
)
from torchconsole.engine.components.models.torchvision_models import classifier_names
from torchconsole.engine.components.models.zoo import ZOO
from torchconsole.engine.components.schedulers import known_schedulers
from torchconsole.engine.components.torch_compat import LossBase
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.config.catalogue import Catalogue, Signature, installed_versions
from torchconsole.engine.config.schedule_units import CHAINED, LENGTHS

ENGINE_ARGUMENTS: dict[str, frozenset[str]] = {
    "data": frozenset(
        {"self", "root", "train", "download", "transform", "target_transform", "transforms", "kwargs"}
    ),
    "batch transform": frozenset({"self", "num_classes", "labels_getter"}),
    "model": frozenset({"input_shape", "num_classes", "num_outputs", "vocab_size"}),
    "optimizer": frozenset({"params", "lr"}),
    "schedule": frozenset({"optimizer"}),
    "metric": frozenset({"task", "num_classes", "num_labels"}),
    "init": frozenset({"tensor"}),
}
"""Arguments that the engine fills in. A preset can override those of models and metrics."""


def build_catalogue() -> Catalogue:
    """Inspect all components that a preset can name."""
    v2 = import_torchvision("transforms.v2")
    return Catalogue(
        versions=installed_versions(),
        kinds={
            "data": _data(),
            "transform": _signatures(classes_of(v2, v2.Transform), unsupported=NOT_FOR_ONE_IMAGE),
            "batch transform": _signatures(
                {name: getattr(v2, name) for name in MIXERS}, ENGINE_ARGUMENTS["batch transform"]
            ),
            "target transform": {name: Signature(arguments={}) for name in target_transform.FUNCTIONS},
            "model": _models(),
            "layer": {name: _layer(factory) for name, factory in sorted(known_layers().items())},
            "loss": _signatures(classes_of(nn, LossBase), unsupported=losses.UNSUPPORTED),
            "optimizer": _signatures(
                classes_of(optim, optim.Optimizer),
                ENGINE_ARGUMENTS["optimizer"],
                unsupported=optimizers.UNSUPPORTED,
            ),
            "schedule": _schedules(schedulers.UNSUPPORTED),
            "scheduler": _schedules({**schedulers.UNSUPPORTED, CHAINED: schedulers.NOT_NESTED}),
            "metric": _signatures(known_metrics(), optional=ENGINE_ARGUMENTS["metric"]),
            "init": _signatures(init_functions(), ENGINE_ARGUMENTS["init"]),
        },
    )


def _signatures(
    factories: Mapping[str, Callable[..., Any]],
    given: Collection[str] = (),
    optional: Collection[str] = (),
    unsupported: Mapping[str, str] | None = None,
) -> dict[str, Signature]:
    return {
        name: _signature(factory, given, optional, (unsupported or {}).get(name, ""))
        for name, factory in sorted(factories.items())
    }


def _signature(
    factory: Callable[..., Any], given: Collection[str], optional: Collection[str], unsupported: str
) -> Signature:
    parameters = inspect.signature(factory).parameters
    return Signature(
        arguments={
            name: p.default is p.empty and name not in optional
            for name, p in parameters.items()
            if p.kind in NAMED and name not in given
        },
        defaults=_defaults(parameters, given),
        open_ended=any(p.kind is p.VAR_KEYWORD for p in parameters.values()),
        unsupported=unsupported,
    )


def _defaults(parameters: Mapping[str, inspect.Parameter], given: Collection[str] = ()) -> dict[str, str]:
    """Return the defaults that a preset could also set: numbers, texts, and lists of them."""
    return {
        name: repr(p.default)
        for name, p in parameters.items()
        if name not in given and isinstance(p.default, bool | int | float | str | tuple | list)
    }


def _schedules(unsupported: Mapping[str, str]) -> dict[str, Signature]:
    known = _signatures(known_schedulers(), ENGINE_ARGUMENTS["schedule"], optional=LENGTHS)
    refused = {name: Signature(arguments={}, unsupported=reason) for name, reason in unsupported.items()}
    return {name: signature for name, signature in known.items() if name not in refused} | refused


def _models() -> dict[str, Signature]:
    ours = _signatures(ZOO, optional=ENGINE_ARGUMENTS["model"])
    ours["Sequential"] = Signature(arguments={})
    return ours | {name: Signature(arguments={}, open_ended=True) for name in classifier_names()}


def _layer(factory: Callable[..., nn.Module]) -> Signature:
    """Describe a layer of torch.nn; arguments that can be filled in are not required."""
    if factory in CONTAINERS.values():
        return Signature(arguments={})
    required = {
        name: p.default is p.empty and name not in FILLED_IN
        for name, p in layer_arguments(factory).items()
        if p.kind in NAMED
    }
    return Signature(arguments=required, defaults=_defaults(layer_arguments(factory)))


def _data() -> dict[str, Signature]:
    options = {
        **tables.OPTIONS,
        **{"NPZ": arrays.NPZ, "Tensors": arrays.NPZ},
        "TextFiles": text_files.TextFiles,
        "DatasetFolder": folders.DatasetFolder,
    }
    plain = {name: Signature(arguments={}) for name in (*arrays.BUNDLED, "ImageFolder")}
    sets = {
        name: Signature(
            arguments=dict.fromkeys(sorted(parameters_of(cls).keys() - ENGINE_ARGUMENTS["data"]), False)
        )
        for name, cls in vision_sets.find_sets().items()
    }
    signatures = _signatures(options)
    tokenizing = _signature(TextOptions, (), (), "")
    for name in tables.OPTIONS:
        # A table may have a column of texts.
        signatures[name].arguments.update({"text": False, **tokenizing.arguments})
        signatures[name].defaults.update(tokenizing.defaults)
    return {**sets, **signatures, **plain}
