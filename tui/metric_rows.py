"""The metrics of a run as rows, one per step, and rows as CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torchconsole.engine.client.recorded_client import RunTail
from torchconsole.engine.errors import RunError, TorchconsoleError, UnreachableError
from torchconsole.engine.files import is_away
from torchconsole.engine.protocol.events import EvaluationCompleted, MetricsLogged, RunResumed
from torchconsole.engine.protocol.points import NonFinite, flag_nonfinite
from torchconsole.engine.run.folder import RunFolder

FACTS = ("run", "step", "epoch", "time", "active_seconds")
"""The columns before the metrics. `time`: seconds since 1970. `active_seconds`: only of logged steps."""

Row = dict[str, Any]
"""Column -> value. A metric without a value at that step is missing; one that cannot be computed is None."""


def read_rows(folder: RunFolder) -> list[Row]:
    """Read one row for each step with a logged step or an evaluation, in the order of the steps.

    Steps that a resume made void are left out. Of a live run, the rows are those in its files by now.
    Raises RunError if the files cannot be read.
    """
    rows: dict[int, Row] = {}
    try:
        for event in RunTail(folder).read():
            match event:
                case RunResumed():
                    rows = {step: row for step, row in rows.items() if step <= event.step}
                case MetricsLogged():
                    # A line of the file is one event, so each series has one point.
                    values = {name: points.values[0] for name, points in event.series.items()}
                    flags = {
                        name: kind
                        for name, points in event.series.items()
                        for kind in points.nonfinite.values()
                    }
                    row = _row_of(rows, folder, event)
                    row["active_seconds"] = event.active_seconds
                    row.update(_plain(values, flags))
                case EvaluationCompleted():
                    _row_of(rows, folder, event).update(_plain(event.metrics, event.nonfinite))
    except OSError as error:
        kind = UnreachableError if is_away(error) else RunError
        raise kind(f"{folder.path}: its metrics cannot be read: {error.strerror}") from error
    return [rows[step] for step in sorted(rows)]


def _row_of(rows: dict[int, Row], folder: RunFolder, event: MetricsLogged | EvaluationCompleted) -> Row:
    facts = {"run": folder.name, "step": event.step, "epoch": event.epoch, "time": event.time}
    return rows.setdefault(event.step, facts)


def _plain(values: Mapping[str, float | None], flags: Mapping[str, NonFinite]) -> Row:
    return {name: float(flags[name]) if name in flags else value for name, value in values.items()}


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Return the columns of all rows: the facts, then the metrics as they first appear."""
    return list(dict.fromkeys([*FACTS, *(name for row in rows for name in row)]))


def to_csv(rows: Sequence[Row]) -> str:
    """Return a heading and a line for each row; missing values are empty, others `nan`, `inf` or `-inf`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns_of(rows), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_json(rows: Sequence[Row]) -> str:
    """Return a list of objects, one to a line. What is not finite is null, with its name in `nonfinite`."""
    return "[\n" + ",\n".join(json.dumps(_flagged(row), allow_nan=False) for row in rows) + "\n]\n"


def _flagged(row: Row) -> Row:
    metrics = {name: value for name, value in row.items() if name not in FACTS and value is not None}
    plain, flags = flag_nonfinite(metrics)
    return {**row, **plain, **({"nonfinite": flags} if flags else {})}


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Write a Parquet file: `run` is text, `step` and `epoch` are int64, everything else is float64.

    Raises TorchconsoleError if pyarrow is missing.
    """
    pyarrow, parquet = import_pyarrow()
    types = {"run": pyarrow.string(), "step": pyarrow.int64(), "epoch": pyarrow.int64()}
    schema = pyarrow.schema([(name, types.get(name, pyarrow.float64())) for name in columns_of(rows)])
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema), path)


def import_pyarrow() -> tuple[Any, Any]:
    """Import pyarrow and pyarrow.parquet. Raises TorchconsoleError with the install command without them."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise TorchconsoleError(
            "--format parquet requires pyarrow: pip install 'torchconsole[parquet]'"
        ) from error
    return pyarrow, parquet
