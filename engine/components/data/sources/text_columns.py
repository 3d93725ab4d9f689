"""Texts to classify: a column of a table (`data.text`)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from torchconsole.engine.components.data.datasets import Splits
from torchconsole.engine.components.data.tables.columns import Column
from torchconsole.engine.components.data.tables.encoding import select_rows
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.reading import read_table
from torchconsole.engine.components.data.tables.table import Table
from torchconsole.engine.components.data.tables.target_columns import read_targets
from torchconsole.engine.components.data.tables.values import read_texts
from torchconsole.engine.components.data.texts.dataset import TextDataset
from torchconsole.engine.components.data.texts.tokenizing import TextOptions
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.config.data_location import data_file
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.protocol.reports import DataColumn
from torchconsole.engine.text import did_you_mean


@dataclass(frozen=True)
class TextColumn(TextOptions):
    """A column of texts in a table."""

    text: str = ""
    """The column."""

    def __post_init__(self) -> None:
        """Raises ValueError like `TextOptions`, and for what is not the name of a column."""
        super().__post_init__()
        if not self.text or not isinstance(self.text, str):
            raise ValueError(f"text must be the name of a column, not {self.text!r}")


TEXT_KEYS = frozenset(field.name for field in fields(TextColumn))
"""The keys of the data section that are about texts."""

OTHER_COLUMNS = ("features", "categorical", "dates", "date_format")
"""Keys of a table whose columns are not texts."""


def reads_texts(config: DataConfig) -> bool:
    """Whether a table is read for a column of texts. Raises ComponentError for such keys without one."""
    given = [key for key in config.arguments if key in TEXT_KEYS]
    if given and "text" not in config.arguments:
        raise ComponentError(
            f"data.{given[0]}: is for texts; set data.text to the column that has them, or remove this key"
        )
    return bool(given)


def open_text_table(kind: type[TableOptions], config: DataConfig) -> Splits:
    """Open the file `data.root` and read its column `data.text`.

    Raises ComponentError for arguments, DataError for columns that are missing or cannot be used.
    """
    text, options = text_options(kind, config)
    table = read_table(data_file(config.name, config.root), options)
    _check_columns(table, text, options)
    targets = read_targets(table, options, config)
    codes, different = read_texts(table, text.text, options.na_values)
    column = Column(text.text, "categorical", codes=codes, labels=different)
    rows, notes = select_rows(table, targets, [column], options, is_text=True)
    numbers, locate_row, file = np.flatnonzero(rows), table.locate, table.path.name

    def locate(index: int) -> str:
        return f"{locate_row(int(numbers[index]))} of {file}"

    labels = targets.select(rows, None if config.task == "auto" else config.task)
    read = DataColumn(name=text.text, role="text", detail=f"{len(different):,} different texts")
    used = {text.text, *options.targets}
    dropped = [
        DataColumn(name=name, role="dropped", detail=f"data.text is {text.text!r} alone")
        for name in table.frame.columns
        if name not in used
    ]
    return Splits(
        TextDataset([different[code] for code in codes[rows]], labels, text, locate),
        class_names=targets.class_names,
        untransformed=targets.untransformed,
        notes=[*table.notes, *targets.notes, *notes],
        columns=[read, *targets.columns, *dropped],
    )


def text_options(kind: type[TableOptions], config: DataConfig) -> tuple[TextColumn, TableOptions]:
    """Return the keys about the texts, and those about the table. Raises ComponentError."""
    arguments = config.arguments
    for key in OTHER_COLUMNS:
        if key in arguments:
            raise ComponentError(f"data.{key}: the only input is the column data.text; remove one of them")
    text_keys = {key: value for key, value in arguments.items() if key in TEXT_KEYS}
    text: TextColumn = call("data", TextColumn, {}, text_keys)
    table_keys = {key: value for key, value in arguments.items() if key not in TEXT_KEYS}
    # A categorical column is read as it is written, also if it looks like numbers.
    roles = {"features": [text.text], "categorical": [text.text]}
    options: TableOptions = call("data", kind, roles, table_keys)
    if options.missing == "mean":
        raise ComponentError('data.missing: texts have no mean; set data.missing = "drop"')
    if text.text in options.targets:
        raise ComponentError(f"data.text: {text.text!r} is also the target; name another column")
    return text, options


def _check_columns(table: Table, text: TextColumn, options: TableOptions) -> None:
    names = list(map(str, table.frame.columns))
    for key, wanted in (("target", options.targets), ("text", [text.text]), ("drop", options.drop)):
        for name in wanted:
            if name not in names:
                raise DataError(
                    f"data.{key}: {table.path.name} has no column {name!r}{did_you_mean(name, names)}"
                )
