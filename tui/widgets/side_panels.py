"""Panels that only a large terminal has room for: the worst classes, and the checkpoints."""

from __future__ import annotations

from torchconsole.engine.protocol.info import ConfusionMatrix
from torchconsole.engine.text import printable
from torchconsole.tui.empty_texts import no_checkpoint, no_evaluation
from torchconsole.tui.formatting import format_metric
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import shorten
from torchconsole.tui.user_keys import key_hints
from torchconsole.tui.widgets.frames import crop, fill, frame, meter
from torchconsole.tui.widgets.lines import Line, LineWidget
from torchconsole.tui.widgets.message_line import format_age

_NAME = 12
_LOW_RECALL = 0.9


class ClassesPanel(LineWidget):
    """The recall of the classes, worst first, and the pair that is confused most."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """As many classes as fit, in two columns."""
        evaluation = self._state.run.last_confusion
        matrix = evaluation.confusion if evaluation else None
        title: Line = [("classes", "bold strong"), (" recall", "muted")]
        key: Line = key_hints(self.app, pane_classes="confusion")
        if matrix is None or not matrix.classes:
            is_evaluated = any(name.startswith("val/") for name in self._state.history)
            text = "no classes to show" if is_evaluated else no_evaluation(self._state)
            return frame([[(text, "faint")]], width, height, title)
        inner, rows = width - 4, height - 3
        recalls = sorted(_recalls(matrix), key=lambda entry: entry[1])
        column = inner // 2 - 1
        body = [
            [*fill(_recall_line(recalls, row, column), column), ("  ", "text"),
             *_recall_line(recalls, row + rows, column)]
            for row in range(rows)
        ]  # fmt: skip
        return frame([*body, crop(_summary(matrix, recalls), inner)], width, height, title, key)


def _recalls(matrix: ConfusionMatrix) -> list[tuple[str, float]]:
    found = []
    for index, (name, counts) in enumerate(zip(matrix.classes, matrix.counts, strict=True)):
        total = sum(counts)
        if total > 0:
            found.append((printable(name), counts[index] / total))
    return found


def _recall_line(recalls: list[tuple[str, float]], index: int, width: int) -> Line:
    if index >= len(recalls):
        return []
    name, recall = recalls[index]
    tone = "val" if recall < _LOW_RECALL else "meter"
    bar = meter(recall, max(0, width - _NAME - 8), tone)
    return [(f"{shorten(name, _NAME):<{_NAME}} ", "text"), *bar, (f"  {recall:.3f}", "text")]


def _summary(matrix: ConfusionMatrix, recalls: list[tuple[str, float]]) -> Line:
    mean = sum(recall for _, recall in recalls) / len(recalls) if recalls else 0.0
    line: Line = [("macro ", "muted"), (f"{mean:.4f}", "bold strong")]
    pairs = [
        (count, row, column)
        for row, counts in enumerate(matrix.counts)
        for column, count in enumerate(counts)
        if row != column and count > 0
    ]
    if pairs:
        count, row, column = max(pairs)
        names = f"{printable(matrix.classes[row])} → {printable(matrix.classes[column])}"
        amount = f"{count:,}" if isinstance(count, int) else f"{count:.2f}"
        line += [("   most confused ", "muted"), (names, "text"), (f" {amount}", "text")]
    return line


class CheckpointsPanel(LineWidget):
    """The best and the last checkpoint, and how long ago it was saved."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """One line for each."""
        run = self._state.run
        lines = checkpoint_lines(self._state) or [[(no_checkpoint(self._state), "faint")]]
        if saved := run.last_checkpoint:
            ago = max(0.0, self._state.clock() - saved.time)
            age = f", {format_age(ago)}" if run.is_live else ""
            lines.append([(f"  step {saved.step:,}{age}", "faint")])
        key: Line = key_hints(self.app, pane_checkpoints="all")
        return frame(lines, width, height, [("checkpoints", "bold strong")], key)


def checkpoint_lines(state: ConsoleState) -> list[Line]:
    """Return a line for the best and for the last checkpoint; empty without any."""
    run, lines = state.run, []
    if run.best is not None:
        best = f"{printable(run.best.metric)} {format_metric(run.best.value)} at step {run.best.step:,}"
        lines.append([("★ ", "attn"), ("best ", "muted"), (best, "text")])
    if saved := run.last_checkpoint:
        lines.append([("▼ ", "muted"), (printable(saved.name), "text"), (f"  {saved.reason}", "faint")])
    return lines
