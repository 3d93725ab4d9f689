"""Everything that a run has logged, as the rows of a table: every value, as exact as it is on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.jsonl import LARGEST_SEQ, read_json_lines, seq_of
from torchconsole.engine.run.line_formats import FACTS as LINE_FACTS
from torchconsole.engine.text import printable

KINDS = ("train", "evaluation")
"""The lines that become rows; an epoch's line has means of the same values."""

FACTS = ("run", "step", "epoch", "time", "active_seconds")
"""The first columns. `time`: seconds since 1970. `active_seconds`: of training so far, None for an evaluation
at a step that was not logged."""

_NONFINITE = ("nan", "inf", "-inf")


@dataclass(frozen=True)
class MetricRows:
    """The rows of a run's metrics.jsonl, one for each step, without those that a resume has made void.

    `seq` is the largest sequence number in the file. Each iteration reads the file anew, so a run of any
    length takes no memory; but only as much as it had when it was surveyed, so the rows of a live run fit its
    `metrics`, which are in the order of their coming.
    """

    run: str
    metrics: tuple[str, ...]
    seq: int
    _path: Path
    _count: int
    _resumes: tuple[tuple[int, int], ...]

    @classmethod
    def survey(cls, folder: RunFolder) -> MetricRows:
        """Read the file once; a missing one has no rows. Raises OSError."""
        names: dict[str, None] = {}
        resumes: list[tuple[int, int]] = []
        count = seq = 0
        for line in read_json_lines(folder.metrics_file):
            if line.get("kind") == "resumed" and type(line.get("step")) is int:
                resumes.append((count, line["step"]))
            elif is_row(line):
                names |= dict.fromkeys(metrics_of(line))
            count += 1
            seq = max(seq, seq_of(line))
        return cls(printable(folder.name), tuple(names), seq, folder.metrics_file, count, tuple(resumes))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each row: FACTS, and its metrics as floats; None for one that could not be computed.

        Raises OSError.
        """
        yield from rows_of(self.run, self.lines())

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines that the rows are made of. Raises OSError."""
        resumes = list(self._resumes)
        for number, line in enumerate(islice(read_json_lines(self._path), self._count)):
            while resumes and resumes[0][0] <= number:
                del resumes[0]
            if is_row(line) and all(line["step"] <= step for _, step in resumes):
                yield line


def rows_of(run: str, lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run's lines, one for each step; each line satisfies `is_row`."""
    for _, group in groupby(lines, key=lambda line: line["step"]):
        row: dict[str, Any] = {}
        for line in group:
            facts = {name: line.get(name) for name in FACTS if row.get(name) is None}
            row = {**row, **facts, **metrics_of(line), "run": run}
        yield row


def is_row(line: Mapping[str, Any]) -> bool:
    """Whether it has the form in which a worker writes rows: anybody may have written the file."""
    facts = [line.get(name) for name in ("time", "active_seconds")]
    return (
        line.get("kind") in KINDS
        and seq_of(line) >= 0
        and all(type(line.get(name)) is int and _is_number(line[name]) for name in ("step", "epoch"))
        and all(fact is None or _is_number(fact) for fact in facts)
    )


def _is_number(value: object) -> bool:
    """Whether it is a number that all formats of tables can hold."""
    return type(value) is float or (type(value) is int and abs(value) <= LARGEST_SEQ)


def metrics_of(line: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the metrics of a line as floats, by printable names; None if one could not be computed."""
    flags = line.get("nonfinite")
    kinds = flags if isinstance(flags, dict) else {}
    found = {}
    for name, value in line.items():
        if name in LINE_FACTS or name in FACTS or not (value is None or _is_number(value)):
            continue
        kind = kinds.get(name)
        number = kind if value is None and kind in _NONFINITE else value
        found[printable(name)] = None if number is None else float(number)
    return found
