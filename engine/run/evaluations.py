"""The evaluations of a run, read from metrics.jsonl as it grows: for lists of runs, which show hundreds.

Of a long file almost all lines are logged steps. They are skipped without being parsed, which is a hundred
times as fast as `recorded_history.read_run`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from torchconsole.engine.run.jsonl import open_lines, parse_line, skip_line

MOST_BYTES = 64 << 20
"""Size of the end of a long file that is read."""

MOST_EVALUATIONS = 4096
"""Evaluations that are kept, the latest."""

BLOCK_BYTES = 1 << 20
LINE_BYTES = 1 << 20
"""Longest line that is read."""

_KIND = re.compile(rb'"kind": ?"(?:evaluation|resumed)"')

_FACTS = frozenset({"seq", "step", "epoch", "time", "kind", "seconds", "reason", "nonfinite"})
"""Keys of an evaluation's line that are not metrics."""


@dataclass(frozen=True)
class Evaluation:
    """The metrics of an evaluation after `step`. Some may be nan or inf."""

    step: int
    epoch: int
    metrics: Mapping[str, float]


@dataclass
class EvaluationReader:
    """Reads the evaluations of one metrics.jsonl; `read` continues where it stopped."""

    path: Path
    evaluations: list[Evaluation] = field(default_factory=list)
    _offset: int = 0
    _file_id: tuple[int, int] = (0, 0)

    def read(self) -> bool:
        """Read what was appended since the last call; return whether there are other evaluations now.

        A file that was replaced or cut is read anew. Raises OSError; a file that is missing is an empty one.
        """
        try:
            file = open_lines(self.path)
        except FileNotFoundError:
            was_there, self.evaluations = bool(self.evaluations), []
            return was_there
        with file:
            before = len(self.evaluations), self.evaluations[-1:]
            found = os.fstat(file.fileno())
            if (found.st_dev, found.st_ino) != self._file_id or found.st_size < self._offset:
                self._file_id, self.evaluations = (found.st_dev, found.st_ino), []
                self._offset = max(0, found.st_size - MOST_BYTES)
            for line in self._lines(file):
                self._take(line)
        del self.evaluations[:-MOST_EVALUATIONS]
        return (len(self.evaluations), self.evaluations[-1:]) != before

    def values(self, metric: str) -> list[float]:
        """Return the values of a metric, in order; evaluations without it are left out."""
        return [found.metrics[metric] for found in self.evaluations if metric in found.metrics]

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the complete lines that may be an evaluation or a resume, and move the offset behind them."""
        file.seek(self._offset)
        if self._offset and not self._starts_a_line(file):
            skip_line(file)
            self._offset = file.tell()
        rest = b""
        while block := file.read(BLOCK_BYTES):
            data = rest + block
            end = data.rfind(b"\n") + 1
            for match in _KIND.finditer(data, 0, end):
                start = data.rfind(b"\n", 0, match.start()) + 1
                yield data[start : data.index(b"\n", match.end()) + 1]
            rest = data[end:]
            self._offset += end
            if len(rest) > LINE_BYTES:
                rest = b""
                if not skip_line(file):  # it is still being written
                    return
                self._offset = file.tell()

    def _starts_a_line(self, file: BinaryIO) -> bool:
        file.seek(self._offset - 1)
        return file.read(1) == b"\n"

    def _take(self, line: bytes) -> None:
        """Take in an evaluation, or forget those that a resume repeats. Other lines are ignored."""
        content = parse_line(line)
        step = content.get("step") if content else None
        if content is None or type(step) is not int or step < 0:
            return
        kept = step if content.get("kind") == "resumed" else step - 1
        while self.evaluations and self.evaluations[-1].step > kept:
            self.evaluations.pop()
        if content.get("kind") == "evaluation":
            epoch = content.get("epoch")
            self.evaluations.append(
                Evaluation(step, epoch if type(epoch) is int and epoch >= 0 else 0, _metrics(content))
            )


def _metrics(content: Mapping[str, Any]) -> dict[str, float]:
    flags = content.get("nonfinite")
    metrics = {}
    for name, value in content.items():
        if name in _FACTS:
            continue
        if value is None and isinstance(flags, dict) and flags.get(name) in ("nan", "inf", "-inf"):
            value = float(flags[name])
        if (type(value) in (int, float) and abs(value) < 2**1023) or isinstance(value, float):
            metrics[name] = float(value)
    return metrics
