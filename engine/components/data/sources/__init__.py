"""Opens the dataset that a preset names: built-in, of torchvision, or in the user's code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torchconsole.engine.components.data.data_record import DataRecord
from torchconsole.engine.components.data.datasets import Splits
from torchconsole.engine.components.data.sources import (
    arrays,
    folders,
    tables,
    text_columns,
    text_files,
    vision_sets,
)
from torchconsole.engine.components.data.sources.user_datasets import open_user_dataset
from torchconsole.engine.components.instantiate import UserCode, pick
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import ReportPhase

Source = Callable[[DataConfig, ReportPhase], Splits]

BUILTIN_SOURCES: dict[str, Source] = {
    **arrays.BUNDLED,
    **arrays.FILES,
    **tables.SOURCES,
    **text_files.SOURCES,
}
"""Sources that need no import of torchvision to be found."""


def open_source(
    config: DataConfig, user_code: UserCode, report: ReportPhase, record: DataRecord | None = None
) -> Splits:
    """Open the dataset that the preset names, with the sets that it has, as the run with this `record` has.

    Raises ComponentError for an unknown name or argument, TrustError for user code that is not trusted, and
    DataError for data that is missing or damaged.
    """
    if is_user_code(config.name):
        return open_user_dataset(config, user_code, report)
    if config.name in folders.SOURCES:
        return folders.SOURCES[config.name](config, user_code)
    if config.name in tables.OPTIONS and text_columns.reads_texts(config):
        return text_columns.open_text_table(tables.OPTIONS[config.name], config)
    if config.name in tables.OPTIONS and record is not None:
        return tables.open_table(tables.OPTIONS[config.name], config, report, record.features)
    source = BUILTIN_SOURCES.get(config.name) or _find_in_torchvision(config.name)
    return source(config, report)


def _find_in_torchvision(name: str) -> Source:
    if name in vision_sets.OTHER_TASKS:
        raise ComponentError(
            f"data.name: {name} is not for image classification: {vision_sets.OTHER_TASKS[name]}"
        )
    known = dict(BUILTIN_SOURCES)
    for vision_name, cls in vision_sets.find_sets().items():
        known.setdefault(vision_name, partial(vision_sets.open_set, cls))
    return pick("data", name, known)
