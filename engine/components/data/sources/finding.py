"""Finds the source that a preset names and opens it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torchconsole.engine.components.data.datasets import Splits
from torchconsole.engine.components.data.sources import (
    arrays,
    bundled,
    folders,
    own_dataset,
    tables,
    vision_sets,
)
from torchconsole.engine.components.instantiate import UserCode, pick
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.config.user_code import is_own
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import ReportPhase

Source = Callable[[DataConfig, ReportPhase], Splits]

OURS: dict[str, Source] = {**bundled.SOURCES, **folders.SOURCES, **tables.SOURCES, **arrays.SOURCES}
"""What needs no look into torchvision."""


def open_source(config: DataConfig, own: UserCode, report: ReportPhase) -> Splits:
    """The samples of the data set that the preset names, as it brings them.

    Raises ComponentError for an unknown name or argument, DataError for data that is not there or not fit.
    """
    if is_own(config.name):
        return own_dataset.open_own(config, own, report)
    source = OURS.get(config.name) or _find_in_torchvision(config.name)
    return source(config, report)


def _find_in_torchvision(name: str) -> Source:
    if name in vision_sets.OTHER_TASKS:
        raise ComponentError(
            f"data.name: {name} is not for classifying images: {vision_sets.OTHER_TASKS[name]}"
        )
    known = dict(OURS)
    for theirs, cls in vision_sets.find_sets().items():
        known.setdefault(theirs, partial(vision_sets.open_set, cls))
    return pick("data", name, known)
