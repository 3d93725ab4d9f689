"""Reads texts as inputs of a trained model: files, lines, or a column of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchconsole.engine.components.data.sources import tables
from torchconsole.engine.components.data.sources.text_columns import TextColumn, text_options
from torchconsole.engine.components.data.sources.text_files import TextFiles
from torchconsole.engine.components.data.system_failures import raise_system_failure
from torchconsole.engine.components.data.tables.columns import Column
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.reading import read_table
from torchconsole.engine.components.data.tables.recorded import refuse_gaps
from torchconsole.engine.components.data.tables.values import read_texts
from torchconsole.engine.components.data.texts.dataset import pad
from torchconsole.engine.components.data.texts.decoding import WrongEncodingError, decode_text
from torchconsole.engine.components.data.texts.tokenizing import TextOptions, make_tokenizer
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import did_you_mean, error_summary


class TextInputs:
    """Turns texts into rows of tokens with the vocabulary that a run has recorded."""

    def __init__(self, config: DataConfig) -> None:
        """Raises ComponentError for a tokenizer's file that is missing or has changed."""
        self._column: tuple[TextColumn, TableOptions] | None = None
        self._encoding = "utf-8"
        if config.name in tables.OPTIONS:
            self._column = text_options(tables.OPTIONS[config.name], config)
            options: TextOptions = self._column[0]
        else:
            files: TextFiles = call("data", TextFiles, {}, config.arguments)
            options, self._encoding = files, files.encoding
        self._tokenizer = make_tokenizer(options, [])
        self._length = options.max_length
        self.vocab_size = self._tokenizer.size

    @property
    def has_rows(self) -> bool:
        """Whether a file is a table with a text in each row; otherwise it is one text."""
        return self._column is not None

    @property
    def expected(self) -> str:
        """What inputs are, for messages."""
        if self._column is None:
            return "text files and folders of them, or - for one text in each line"
        return f"tables with the column {self._column[0].text!r}, or - for one text in each line"

    def read(self, path: Path, *, with_targets: bool = False) -> tuple[Tensor, Iterable[int]]:
        """Return the texts of a file as tokens (N, T) int64, and the line of each in a table that has lines.

        Raises DataError if it cannot be used.
        """
        if self._column is None:
            return self._encode([self._read_file(path)]), ()
        texts, lines = _read_column(path, *self._column, with_targets=with_targets)
        return self._encode(texts), lines

    def read_lines(self, content: bytes) -> Tensor:
        """Return lines as tokens (N, T) int64. Raises DataError for another encoding than the run's."""
        lines = self._decode(content).replace("\r\n", "\n").split("\n")
        return self._encode(lines if lines[-1] else lines[:-1])

    def _read_file(self, path: Path) -> str:
        try:
            return self._decode(path.read_bytes())
        except OSError as error:
            raise_system_failure(error)
            raise DataError(f"it cannot be read: {error_summary(error)}") from error

    def _decode(self, content: bytes) -> str:
        try:
            return decode_text(content, self._encoding)[0]
        except WrongEncodingError as error:
            raise DataError(f"it is not {self._encoding} text; convert it") from error

    def _encode(self, texts: Sequence[str]) -> Tensor:
        if not texts:
            return torch.zeros(0, self._length, dtype=torch.int64)
        return pad(self._tokenizer.encode(texts), self._length)


def _read_column(
    path: Path, text: TextColumn, options: TableOptions, *, with_targets: bool
) -> tuple[list[str], Iterable[int]]:
    table = read_table(path, options)
    names = list(map(str, table.frame.columns))
    wanted = [text.text, *(options.targets if with_targets else ())]
    if missing := [f"{name!r}{did_you_mean(name, names)}" for name in wanted if name not in names]:
        raise DataError(f"it has no column {' and no column '.join(missing)}")
    codes, different = read_texts(table, text.text, options.na_values)
    refuse_gaps([Column(text.text, "categorical", codes=codes, labels=different)], table.locate, path)
    return [different[code] for code in codes], table.lines()
