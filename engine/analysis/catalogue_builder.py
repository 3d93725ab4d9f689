"""Writes the catalogue: what torch, torchvision and torchmetrics offer, and the arguments it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import nn, optim

from torchconsole.engine.components import losses, optimizers, schedules
from torchconsole.engine.components.data.sources import arrays, folders, tables, vision_sets
from torchconsole.engine.components.data.transforms import MIXERS, NOT_FOR_ONE_IMAGE
from torchconsole.engine.components.initialization import init_functions
from torchconsole.engine.components.instantiate import NAMED, classes_of
from torchconsole.engine.components.metrics import known_metrics
from torchconsole.engine.components.models.torchvision_models import classifier_names
from torchconsole.engine.components.models.zoo import ZOO
from torchconsole.engine.components.schedules import LENGTHS, known_schedulers
from torchconsole.engine.components.torch_compat import LossBase
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.config.catalogue import Catalogue, Signature, installed_versions

GIVEN: dict[str, frozenset[str]] = {
    "data": frozenset(
        {"self", "root", "train", "download", "transform", "target_transform", "transforms", "kwargs"}
    ),
    "batch transform": frozenset({"self", "num_classes", "labels_getter"}),
    "model": frozenset({"input_shape", "num_classes", "num_outputs"}),
    "optimizer": frozenset({"params", "lr"}),
    "schedule": frozenset({"optimizer"}),
    "metric": frozenset({"task", "num_classes", "num_labels"}),
    "init": frozenset({"tensor"}),
}
"""Arguments that the engine fills in; a preset may set those of a model and a metric all the same."""


def build_catalogue() -> Catalogue:
    """Look at everything that a preset may name."""
    v2 = import_torchvision("transforms.v2")
    return Catalogue(
        versions=installed_versions(),
        kinds={
            "data": _data(),
            "transform": _signatures(classes_of(v2, v2.Transform), unsupported=NOT_FOR_ONE_IMAGE),
            "batch transform": _signatures(
                {name: getattr(v2, name) for name in MIXERS}, GIVEN["batch transform"]
            ),
            "model": _models(),
            "loss": _signatures(classes_of(nn, LossBase), unsupported=losses.UNSUPPORTED),
            "optimizer": _signatures(
                classes_of(optim, optim.Optimizer), GIVEN["optimizer"], unsupported=optimizers.UNSUPPORTED
            ),
            "schedule": _schedules(),
            "metric": _signatures(known_metrics(), optional=GIVEN["metric"]),
            "init": _signatures(init_functions(), GIVEN["init"]),
        },
    )


def _signatures(
    things: Mapping[str, Callable[..., Any]],
    given: Collection[str] = (),
    optional: Collection[str] = (),
    unsupported: Mapping[str, str] | None = None,
) -> dict[str, Signature]:
    return {
        name: _signature(thing, given, optional, (unsupported or {}).get(name, ""))
        for name, thing in sorted(things.items())
    }


def _signature(
    thing: Callable[..., Any], given: Collection[str], optional: Collection[str], unsupported: str
) -> Signature:
    parameters = inspect.signature(thing).parameters
    return Signature(
        arguments={
            name: p.default is p.empty and name not in optional
            for name, p in parameters.items()
            if p.kind in NAMED and name not in given
        },
        open_ended=any(p.kind is p.VAR_KEYWORD for p in parameters.values()),
        unsupported=unsupported,
    )


def _schedules() -> dict[str, Signature]:
    refused = {
        name: Signature(arguments={}, unsupported=reason) for name, reason in schedules.UNSUPPORTED.items()
    }
    return _signatures(known_schedulers(), GIVEN["schedule"], optional=LENGTHS) | refused


def _models() -> dict[str, Signature]:
    ours = _signatures(ZOO, optional=GIVEN["model"])
    return ours | {name: Signature(arguments={}, open_ended=True) for name in classifier_names()}


def _data() -> dict[str, Signature]:
    options = {"CSV": tables.CSV, "NPZ": arrays.NPZ, "Tensors": arrays.NPZ}
    plain = {name: Signature(arguments={}) for name in (*arrays.BUNDLED, *folders.SOURCES)}
    sets = {
        name: Signature(
            arguments=dict.fromkeys(sorted(vision_sets.parameters_of(cls) - GIVEN["data"]), False)
        )
        for name, cls in vision_sets.find_sets().items()
    }
    return {**sets, **_signatures(options), **plain}
