"""Tables of what runs have logged, in the formats that other programs read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.points import flag_nonfinite
from torchconsole.engine.run.metric_rows import FACTS, MetricRows

Row = dict[str, Any]

ROW_GROUP = 20_000
"""Rows of a Parquet file that are in memory at a time."""


class MetricTable:
    """The rows of several runs, one run after the other; `count` is how many were written so far."""

    def __init__(self, runs: Sequence[MetricRows]) -> None:
        self.columns = list(dict.fromkeys(chain(FACTS, *(run.metrics for run in runs))))
        self.count = 0
        self._runs = runs

    def write_csv(self, file: IO[str]) -> None:
        """Write headings and a line for each row. Missing values are empty, others `nan`, `inf` or `-inf`."""
        writer = csv.DictWriter(file, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows())

    def write_json(self, file: IO[str]) -> None:
        """Write a list of objects, one to a line.

        A number that is not finite is null, and `nonfinite` says what it was, as in metrics.jsonl.
        """
        separator = "["
        for row in self._rows():
            file.write(f"{separator}\n{json.dumps(_flagged(row), allow_nan=False)}")
            separator = ","
        file.write("\n]\n" if self.count else "[]\n")

    def write_parquet(self, path: Path) -> None:
        """Write a Parquet file: `run` is text, `step` and `epoch` are int64, everything else is float64."""
        pyarrow, parquet = import_pyarrow()
        types = {"run": pyarrow.string(), "step": pyarrow.int64(), "epoch": pyarrow.int64()}
        schema = pyarrow.schema([(name, types.get(name, pyarrow.float64())) for name in self.columns])
        rows = self._rows()
        with parquet.ParquetWriter(path, schema) as writer:
            while group := list(islice(rows, ROW_GROUP)):
                writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))

    def write(self, form: str, path: Path) -> None:
        """Write a file of this format: csv, json or parquet. Raises OSError."""
        if form == "parquet":
            self.write_parquet(path)
            return
        with path.open("w", encoding="utf-8", newline="") as file:
            self.print(form, file)

    def print(self, form: str, file: IO[str]) -> None:
        """Write the text of this format: csv or json. Raises OSError."""
        writers: Mapping[str, Callable[[IO[str]], None]] = {"csv": self.write_csv, "json": self.write_json}
        writers[form](file)

    def _rows(self) -> Iterator[Row]:
        for run in self._runs:
            for row in run:
                self.count += 1
                yield row


def _flagged(row: Row) -> Row:
    metrics = {name: value for name, value in row.items() if name not in FACTS}
    plain, flags = flag_nonfinite(metrics)
    return {**row, **plain, **({"nonfinite": flags} if flags else {})}


def import_pyarrow(option: str = "--format parquet") -> tuple[Any, Any]:
    """Import pyarrow and pyarrow.parquet. Raises TorchconsoleError with the install command without them."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise TorchconsoleError(f"{option} requires pyarrow: pip install 'torchconsole[parquet]'") from error
    return pyarrow, parquet
