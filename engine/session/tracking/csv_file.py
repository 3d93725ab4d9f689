"""scalars.csv: the rows of metrics.jsonl, as `torchconsole metrics RUN --format csv` prints them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, BinaryIO

from torchconsole.engine.files import held_folder, open_own, replacing
from torchconsole.engine.protocol.events import RunResumed
from torchconsole.engine.run.jsonl import read_json_lines, seq_of
from torchconsole.engine.run.metric_rows import FACTS, MetricRows, is_row, metrics_of, rows_of
from torchconsole.engine.session.run_place import RunPlace
from torchconsole.engine.session.tracking.tracker import Item
from torchconsole.engine.text import printable


class CsvFile:
    """Follows metrics.jsonl. A new column, or a resume that makes rows void, rewrites the whole file."""

    def __init__(self, place: RunPlace) -> None:
        self._place = place
        self._file: BinaryIO | None = None
        self._columns: list[str] = []
        self._seq = 0
        self._last: list[dict[str, Any]] = []
        """The lines of the last row, to which an evaluation of the same step may add."""
        self._last_offset = 0

    def write(self, items: Sequence[Item]) -> None:
        """Write the rows that have come since. What the items say is in metrics.jsonl. Raises OSError."""
        try:
            if self._file is None or any(isinstance(item, RunResumed) for item in items):
                self._rewrite()
            self._append()
        except OSError:
            with suppress(OSError):
                self.close()  # its end may be torn: the next attempt rewrites it
            raise

    def close(self) -> None:
        """Close the file, which is complete."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _append(self) -> None:
        folder = self._place.folder
        found = list(read_json_lines(folder.metrics_file, self._seq))
        lines = [line for line in found if is_row(line)]
        if not lines:
            return
        if not set(chain.from_iterable(map(metrics_of, lines))) <= set(self._columns):
            self._rewrite()
            return
        assert self._file is not None, "`write` has opened it"
        self._file.seek(self._last_offset)
        self._file.truncate()
        self._put(self._file, rows_of(printable(folder.name), self._noting([*self._last, *lines])))
        self._file.flush()
        self._seq = max(map(seq_of, found))

    def _rewrite(self) -> None:
        self.close()
        path = self._place.folder.csv_file
        rows = MetricRows.survey(self._place.folder)
        self._columns = [*FACTS, *rows.metrics]
        self._last, self._seq = [], rows.seq
        with (
            held_folder(path.parent) as folder,
            replacing(folder / path.name) as temporary,
            os.fdopen(open_own(temporary, os.O_WRONLY), "wb") as file,
        ):
            file.write(self._text([{name: name for name in self._columns}]))
            self._last_offset = file.tell()
            self._put(file, rows_of(rows.run, self._noting(rows.lines())))
        self._file = os.fdopen(open_own(path, os.O_RDWR), "r+b")

    def _put(self, file: BinaryIO, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self._last_offset = file.tell()
            file.write(self._text([row]))

    def _noting(self, lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Pass lines on, and keep those of the last step."""
        last: list[dict[str, Any]] = []
        for line in lines:
            if last and last[-1]["step"] != line["step"]:
                last = []
            last.append(line)
            self._last = last
            yield line

    def _text(self, rows: Iterable[dict[str, Any]]) -> bytes:
        text = io.StringIO()
        csv.DictWriter(text, self._columns, lineterminator="\n").writerows(rows)
        return text.getvalue().encode()
