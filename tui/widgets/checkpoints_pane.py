"""The checkpoints pane: what the run has saved, read from its folder in another thread."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.cells import cell_len

from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.checkpoints import CheckpointInfo, CheckpointReader
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import printable
from torchconsole.tui.empty_texts import no_checkpoint
from torchconsole.tui.formatting import format_bytes, format_named_metric
from torchconsole.tui.metric_direction import higher_is_better
from torchconsole.tui.run_listing import format_age
from torchconsole.tui.screens.checkpoint_tasks import CheckpointTasks
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import padded
from torchconsole.tui.user_keys import key_hints
from torchconsole.tui.widgets.lines import Line, wrap
from torchconsole.tui.widgets.ordered_pane import ALL, OrderedPane

MOST_METRICS = 4
AGE_SECONDS = 10
"""The ages are drawn again this often."""

_GAP = "  "


class CheckpointsPane(OrderedPane[CheckpointInfo]):
    """`★ step 1,204  epoch 3  best, last  val/loss 0.4121  12.5 MB  2m`. Enter offers what to do with one."""

    VIEWS = (ALL, "best, last and kept")

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(state, id="checkpoints")
        self._found: Sequence[CheckpointInfo] = ()
        self._reader: tuple[str, CheckpointReader] | None = None
        self._read_for: object = None
        self._is_reading = False
        self._problem = ""
        self._measured: tuple[object, tuple[list[str], list[int]]] | None = None
        self._tasks = CheckpointTasks(self)

    def source(self) -> object:
        """Return what the lines are made from."""
        age = int(self._state.clock() // AGE_SECONDS)
        return self._found, self._is_reading, *self.arrangement, age

    def all_rows(self) -> Sequence[CheckpointInfo]:
        """Return the checkpoints, the newest first."""
        return self._found

    def orders(self) -> Sequence[str]:
        """Return the orders: the newest first, the best of a metric first, or the smallest first."""
        return ["step", *self._metrics(), "size"]

    def sort_key(self, row: CheckpointInfo, order: str) -> float | None:
        """Return what sorts a checkpoint."""
        if order == "size":
            return row.bytes
        value = row.metrics.get(order)
        return None if value is None else -value if higher_is_better(order) else value

    def is_in_view(self, row: CheckpointInfo, view: str) -> bool:
        """Whether a checkpoint is one of those that are not rotated away."""
        return bool(kind_of(row))

    def redraw(self) -> None:
        """Read the folder if there may be another checkpoint, and draw."""
        run = self._state.run
        wanted = (run.folder, run.status, None if run.last_checkpoint is None else run.last_checkpoint.seq)
        if self._read_for != wanted and not self._is_reading:
            self._read_for, self._is_reading = wanted, True
            self.run_worker(partial(self._read, run), thread=True, group="checkpoints")
        super().redraw()

    def read_again(self) -> None:
        """Read the folder, which has changed."""
        self._read_for = None
        self.redraw()

    def _read(self, run: RunState) -> None:
        """Read the folder (in a thread of its own: the files are compared with their sha256)."""
        if self._reader is None or self._reader[0] != run.folder:
            self._reader = run.folder, CheckpointReader(RunFolder(Path(run.folder)))
        try:
            found, problem = self._reader[1].read(), ""
        except OSError as error:
            found, problem = [], str(error.strerror)
        self.app.call_from_thread(self._show, found, problem)

    def _show(self, found: Sequence[CheckpointInfo], problem: str) -> None:
        self._found, self._problem, self._is_reading = found, problem, False
        if self.is_attached:
            self.redraw()

    def _metrics(self) -> list[str]:
        """Return the metrics that are shown: the one that decides what is best, then the others."""
        return self._measure()[0]

    def _widths(self) -> list[int]:
        """Return the widths of the columns."""
        return self._measure()[1]

    def _measure(self) -> tuple[list[str], list[int]]:
        """Return the metrics and the widths, which are found once for a list and an age."""
        best = self._state.run.best
        wanted = self._found, int(self._state.clock() // AGE_SECONDS), best
        if self._measured is None or self._measured[0] != wanted:
            names = dict.fromkeys(
                name for info in self._found for name in info.metrics if name.count("/") < 2
            )
            first = [best.metric] if best and best.metric in names else []
            metrics = [*first, *(name for name in names if name not in first)][:MOST_METRICS]
            cells = [_headings(metrics), *(self._cells(info, metrics) for info in self._found)]
            widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
            self._measured = wanted, (metrics, widths)
        return self._measured[1]

    def _cells(self, info: CheckpointInfo, metrics: Sequence[str]) -> list[str]:
        values = [
            format_named_metric(name, info.metrics[name]) if name in info.metrics else "" for name in metrics
        ]
        age = "" if info.created is None else format_age(max(0.0, self._state.clock() - info.created))
        size = "" if info.bytes is None else format_bytes(info.bytes)
        epoch = "" if info.epoch is None else f"{info.epoch:,}"
        return [f"{info.step:,}", epoch, kind_of(info), *values, size, age]

    def _columns(self, width: int) -> list[int]:
        """Return the columns that fit; dropped are the epoch, then metrics from the last, then the age."""
        widths = self._widths()
        kept = list(range(len(widths)))
        metrics = list(range(3, len(widths) - 2))
        for dropped in (1, *reversed(metrics[1:]), len(widths) - 1, *metrics[:1], len(widths) - 2):
            if 2 + sum(widths[index] + len(_GAP) for index in kept) <= width:
                break
            kept.remove(dropped)
        return kept

    def _joined(self, cells: Sequence[str], width: int) -> list[tuple[int, str]]:
        widths = self._widths()
        return [
            (index, padded(cells[index], widths[index], index != 2) + _GAP) for index in self._columns(width)
        ]

    def heading(self, width: int) -> list[Line]:
        """Return the names of the columns; the one that sorts is bright."""
        if not self._found:
            return []
        names = _headings(self._metrics())
        sorted_by = printable(self.order or "step")
        line: Line = [("  ", "text")]
        for index, text in self._joined(names, width):
            line.append((text, "bold strong" if names[index] == sorted_by else "faint"))
        return [line]

    def row_lines(self, row: CheckpointInfo, width: int) -> list[Line]:
        """Return the line of a checkpoint, and another one with what is wrong with it."""
        sign = ("✗ ", "bad") if row.problem else ("★ ", "attn") if row.best else ("▼ ", "muted")
        line: Line = [sign]
        for index, text in self._joined(self._cells(row, self._metrics()), width):
            line.append((text, "bold strong" if index == 0 else "faint" if index in (1, 2) else "text"))
        problem: list[Line] = [
            [("    ", "text"), (piece, "bad")] for piece in wrap(printable(row.problem), width - 4) if piece
        ]
        return [line, *problem]

    def text_of(self, row: CheckpointInfo) -> str:
        """Return what is searched."""
        metrics = " ".join(
            f"{name} {format_named_metric(name, value)}" for name, value in row.metrics.items()
        )
        return f"{row.name} {kind_of(row)} {metrics} {row.problem}".strip()

    def text_to_copy(self) -> str:
        """Return the path of the highlighted checkpoint."""
        row = self.highlighted_row
        return "" if row is None else row.path

    def title(self) -> Line:
        """Return the title, and how much the checkpoints take."""
        if not self._found:
            return [("checkpoints", "bold strong")]
        size = format_bytes(sum(info.bytes or 0 for info in self._found))
        damaged = sum(bool(info.problem) for info in self._found)
        title: Line = [("checkpoints", "bold strong"), (f" {len(self._found):,}, {size}", "muted")]
        title = self.arranged(title)
        return [*title, (f"  ✗ {damaged} damaged", "bad")] if damaged else title

    def remark(self) -> Line:
        """Return the keys."""
        if not self._found:
            return []
        return key_hints(self.app, pane_choose="use", pane_delete="delete", pane_order="order")

    def empty(self) -> str:
        """Return what is shown without checkpoints."""
        if self._is_reading:
            return "reading the checkpoints..."
        if self._problem:
            return f"the checkpoints cannot be read: {self._problem}"
        return no_checkpoint(self._state)

    def action_choose(self) -> None:
        """Offer what can be done with the highlighted checkpoint."""
        if (row := self.highlighted_row) is not None:
            self._tasks.offer(self._state, row)

    def action_delete(self) -> None:
        """Delete the highlighted checkpoint, after a question."""
        if (row := self.highlighted_row) is not None:
            self._tasks.delete(self._state, row)


def _headings(metrics: Sequence[str]) -> list[str]:
    return ["step", "epoch", "kind", *map(printable, metrics), "size", "age"]


def kind_of(info: CheckpointInfo) -> str:
    """Return what a checkpoint is: `best, last, kept, abandoned`, and the library whose format it has.

    `kept` was saved by a person, and is never rotated; the run was rolled back beyond an `abandoned` one.
    """
    kinds = {"best": info.best, "last": info.last, "kept": info.kept, "abandoned": info.abandoned}
    names = [kind for kind, applies in kinds.items() if applies]
    return printable(", ".join([*names, info.made_by] if info.made_by else names))
