"""The classes pane: which classes are mistaken for which, or how far a regression is off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from textual.events import Click, MouseScrollDown, MouseScrollUp

from torchconsole.engine.protocol.events import EvaluationCompleted
from torchconsole.engine.protocol.info import ConfusionMatrix, RegressionSample, WorstSample
from torchconsole.engine.text import printable
from torchconsole.tui.confusion import MEASURES, class_scores, confusions, macro, sorted_scores
from torchconsole.tui.empty_texts import no_classes
from torchconsole.tui.keys import COLUMNS, LISTS, PANE_LISTS, bindings
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.theme import look_of
from torchconsole.tui.user_keys import key_hints, key_named
from torchconsole.tui.widgets.class_bars import bars, class_table, confusion_list
from torchconsole.tui.widgets.frames import beside, crop, fill, first_fitting, framed, inner_size
from torchconsole.tui.widgets.heat_map import HeatMap, Window
from torchconsole.tui.widgets.lines import Line, wrap
from torchconsole.tui.widgets.list_pane import on_select
from torchconsole.tui.widgets.residuals import figures, regression_view
from torchconsole.tui.widgets.searched_rows import SearchedRows
from torchconsole.tui.widgets.worst_list import worst_table

View = Literal["counts", "shares", "classes", "confusions"]
VIEWS: tuple[View, ...] = ("counts", "shares", "classes", "confusions")
"""Views of a confusion matrix. The worst samples come after them."""

SIDE_COLUMNS, SIDE_FROM = 42, 104
"""Columns of the panels at the right, and the width from which there are some."""

_WHEEL_ROWS = 3
_AXES: Line = [("rows ", "faint"), ("truth", "muted"), ("  columns ", "faint"), ("predicted", "muted")]
_MOVES = ("list_down", "list_up", "column_left", "column_right")
_LEAST_SPARE = 4
"""Rows below the matrix from which the most confused classes are shown there."""


class ClassesPane(SearchedRows, can_focus=True):
    """The latest evaluation: a heat map with what stands out of it, or points and their differences."""

    BINDINGS = bindings(LISTS, PANE_LISTS, COLUMNS)

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(id="classes")
        self._state = state
        self.stage = "normal"
        self.view: View = "counts"
        self.shows_worst = False
        self.measure = MEASURES[0]
        self.best_first = False
        self.column = 0
        self.target = 0
        self._first = 0
        self._window: Window | None = None
        self._seen: EvaluationCompleted | None = None
        self._before: dict[str, float | None] = {}
        self._drawn: tuple[object, ...] | None = None

    @property
    def _matrix(self) -> ConfusionMatrix | None:
        evaluation = self._state.run.last_confusion
        return (
            evaluation.confusion
            if evaluation and evaluation.confusion and evaluation.confusion.classes
            else None
        )

    @property
    def _sample(self) -> RegressionSample | None:
        evaluation = self._state.run.last_confusion
        sample = evaluation.regression if evaluation else None
        return sample if sample and sample.shown else None

    @property
    def _worst(self) -> Sequence[WorstSample]:
        evaluation = self._state.run.last_confusion
        return evaluation.worst if evaluation else ()

    @property
    def _is_worst(self) -> bool:
        """Whether the samples with the highest losses are shown: if chosen, or if there is nothing else."""
        return bool(self._worst) and (self.shows_worst or (self._matrix is None and self._sample is None))

    @property
    def count(self) -> int:
        """The number of rows of the present view."""
        matrix = self._matrix
        if self._is_worst or matrix is None:
            return len(self._worst) if self._is_worst else 0
        return len(confusions(matrix)) if self.view == "confusions" else len(matrix.classes)

    def row_texts(self) -> list[str]:
        """Return the names in the rows of the present view."""
        matrix = self._matrix
        if self._is_worst:
            return [f"{each.label} {each.predicted} {each.place}" for each in self._worst]
        if matrix is None:
            return []
        names = [printable(name) for name in matrix.classes]
        if self.view == "confusions":
            return [f"{names[pair.true]} taken for {names[pair.predicted]}" for pair in confusions(matrix)]
        return [names[index] for index in self._order(matrix)]

    def _order(self, matrix: ConfusionMatrix) -> Sequence[int]:
        """Return which class is in each row of the matrix, or of the table of classes."""
        if self.view != "classes":
            return range(len(matrix.classes))
        scores = sorted_scores(class_scores(matrix), self.measure, best_first=self.best_first)
        return [score.index for score in scores]

    # What is drawn.

    def redraw(self) -> None:
        """Draw again if what is shown has changed: a matrix of 100 classes takes a few milliseconds."""
        run = self._state.run
        shown = (run.last_confusion, run.is_live, not self._state.history, self.stage)
        chosen = (
            self.view,
            self.shows_worst,
            self.measure,
            self.best_first,
            self.row,
            self.column,
            self.target,
            self.query_text,
        )
        drawn = (*shown, *chosen, self.has_focus, self.outer_size)
        if self._drawn is None or any(a is not b and a != b for a, b in zip(drawn, self._drawn, strict=True)):
            self._drawn = drawn
            super().redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the view, or say why there is nothing."""
        self._remember()
        matrix, sample = self._matrix, self._sample
        if self._is_worst:
            self.row = max(0, min(self.row, self.count - 1))
            heading, lines = worst_table(self._worst, self._inner(width, height)[0] - 2)
            return self._draw_list(width, height, _title("highest loss"), heading, lines)
        if matrix is not None:
            self.row = max(0, min(self.row, self.count - 1))
            self.column = max(0, min(self.column, len(matrix.classes) - 1))
            if self.view in ("counts", "shares"):
                return self._draw_matrix(matrix, width, height)
            return self._draw_list(width, height, *self._rows_of(matrix, self._inner(width, height)[0] - 2))
        if sample is not None:
            self.target = min(self.target, len(sample.shown) - 1)
            more = len(sample.shown) > 1
            keys = self._view_hints("next target" if more else "view") if more or self._worst else [[]]
            return regression_view(sample, self.target, self._where(), keys, width, height, self._box)
        why = no_classes(self._state, key_named(self.app, "evaluate"))
        return self._box([[], *_indented(why, width - 6)], width, height, _title("classes"), [])

    def _remember(self) -> None:
        """Keep the recall of the evaluation before, for the arrows."""
        evaluation = self._state.run.last_confusion
        if evaluation is self._seen:
            return
        before, self._seen = self._seen, evaluation
        if before is not None and before.confusion is not None:
            self._before = {score.name: score.recall for score in class_scores(before.confusion)}

    def _box(self, body: list[Line], width: int, height: int, title: Line, *remarks: Line) -> list[Line]:
        """Draw a box with the first of the remarks that fits."""
        boxed = self.stage in ("normal", "large")
        remark = first_fitting(title, remarks, width)
        return framed(body, width, height, title, remark, has_focus=self.has_focus, boxed=boxed)

    def _inner(self, width: int, height: int) -> tuple[int, int]:
        return inner_size(width, height, boxed=self.stage in ("normal", "large"))

    def _draw_matrix(self, matrix: ConfusionMatrix, width: int, height: int) -> list[Line]:
        side = SIDE_COLUMNS if width >= SIDE_FROM else 0
        inner, rows = self._inner(width - side, height)
        heat = HeatMap(matrix, as_shares=self.view == "shares", painted=look_of(self.app).paints_backgrounds)
        room = inner - 2
        window = self._window = heat.window(room, rows - 1, self.row, self.column)
        self._page = window.rows
        cursor = (self.row, self.column) if self.has_focus else None
        lines = [[*self.mark(line[:1]), *line[1:]] for line in heat.lines(window, cursor)]
        body: list[Line] = [[(" ", "text"), *crop(line, room)] for line in lines]
        body = body[: rows - 1]
        spare = rows - 1 - len(body)
        if not side and spare >= _LEAST_SPARE:
            names = [printable(name) for name in matrix.classes]
            pairs = confusion_list(confusions(matrix)[: spare - 2], names, room, in_words=True)
            body += [[], [(" most confused", "bold strong")]][: 2 if pairs else 0]
            body += [[(" ", "text"), *line] for line in pairs]
        body += [[]] * (rows - 1 - len(body))
        keys = " ".join(key_named(self.app, name) for name in _MOVES)
        body.append([(" ", "text"), *crop(heat.legend(window, cursor, room, keys), room)])
        title = [*_title("confusion"), *self._where()]
        views = self._view_hints("% of row" if self.view == "shares" else "counts")
        remarks = [remark for view in views for remark in ([*_AXES, ("  ", "text"), *view], view)]
        found = self.search_remark()
        left = self._box(body, width - side, height, title, *([found] if found else remarks))
        if not side:
            return left
        return beside(left, self._draw_side(matrix, side, height), width - side)

    def _draw_side(self, matrix: ConfusionMatrix, width: int, height: int) -> list[Line]:
        scores = sorted_scores(class_scores(matrix), self.measure, best_first=self.best_first)
        pairs = confusions(matrix)
        upper = min(len(scores) + 4, max(6, height - min(len(pairs) + 2, height // 2)))
        inner, rows = self._inner(width, upper)
        order = "highest" if self.best_first else "lowest"
        mean = macro(scores, "recall" if self.measure in ("class", "support") else self.measure)
        body = bars(scores, self.measure, self._before, inner - 2, rows)
        remark: Line = key_hints(self.app, pane_order="order")
        name = "order of the data" if self.measure == "class" else f"{order} {self.measure} first"
        title: Line = [*_title("classes"), (f" {name}", "muted")]
        if mean is not None and rows > 2:
            shown = "recall" if self.measure in ("class", "support") else self.measure
            body = [*body[: rows - 1], [(f"macro {shown} ", "muted"), (f"{mean:.4f}", "bold strong")]]
        first = self._box([[(" ", "text"), *line] for line in body], width, upper, title, remark)
        inner, rows = self._inner(width, height - upper)
        names = [printable(name) for name in matrix.classes]
        lines = confusion_list(pairs[:rows], names, inner - 2)
        body = [[(" ", "text"), *line] for line in lines] or [
            [(" no class is mistaken for another", "faint")]
        ]
        more: Line = [(f"{len(pairs):,} pairs", "faint")] if len(pairs) > rows else []
        return [*first, *self._box(body, width, height - upper, _title("most confused"), more)]

    def _rows_of(self, matrix: ConfusionMatrix, room: int) -> tuple[Line, Line, list[Line]]:
        """Return title, heading and lines of the classes, or of the pairs that are confused."""
        if self.view == "classes":
            scores = sorted_scores(class_scores(matrix), self.measure, best_first=self.best_first)
            name = "order of the data" if self.measure == "class" else f"by {self.measure}"
            return [*_title("classes"), (f" {name}", "muted")], *class_table(scores, self.measure, room)
        names = [printable(name) for name in matrix.classes]
        return _title("most confused"), [], confusion_list(confusions(matrix), names, room, in_words=True)

    def _draw_list(
        self, width: int, height: int, title: Line, heading: Line, lines: list[Line]
    ) -> list[Line]:
        inner, rows = self._inner(width, height)
        room = inner - 2
        title = [*title, *self._where()]
        self._page = max(1, rows - bool(heading))
        first = self._first = max(0, min(self.row - self._page // 2, len(lines) - self._page))
        body: list[Line] = [[(" ", "text"), *heading]] if heading else []
        for number, line in enumerate(lines[first : first + self._page], first):
            filled = self.mark(fill(line, room))
            if self.has_focus and number == self.row:
                body.append([("▌", "train"), *((text, on_select(tone)) for text, tone in filled)])
            else:
                body.append([(" ", "text"), *filled])
        if not lines:
            body = [[(" no class is mistaken for another", "faint")]]
        remark: Line = [(f"{self.row + 1} of {len(lines)}  ", "faint")] if len(lines) > self._page else []
        if self.view == "classes" and not self._is_worst:
            remark += [*key_hints(self.app, pane_order="order"), ("  ", "text")]
        found = self.search_remark()
        remarks = [found] if found else [[*remark, *view] for view in self._view_hints("view")]
        return self._box(body, width, height, title, *remarks)

    def _view_hints(self, view: str) -> list[Line]:
        """Return the keys of the next view and of the samples with their pictures; then that of the view."""
        alone = key_hints(self.app, view=view)
        if not self._worst:
            return [alone]
        return [key_hints(self.app, view=view, pane_results="worst samples"), alone]

    def _where(self) -> Line:
        evaluation = self._state.run.last_confusion
        return [] if evaluation is None else [(f" val, step {evaluation.step:,}", "muted")]

    # What the keys do.

    def action_column_left(self) -> None:
        """Go to the predicted class before."""
        self._go_sideways(-1)

    def action_column_right(self) -> None:
        """Go to the next predicted class."""
        self._go_sideways(1)

    def _go_sideways(self, columns: int) -> None:
        matrix = self._matrix
        if matrix is not None:
            self.column = max(0, min(self.column + columns, len(matrix.classes) - 1))
            self.redraw()

    def action_view(self) -> None:
        """Show the next view, or the next target of a regression; the worst samples after the last one."""
        sample = None if self._matrix else self._sample
        is_last = self.target == len(sample.shown) - 1 if sample else self.view == VIEWS[-1]
        if self._worst and is_last and not self.shows_worst:
            self.shows_worst, self.row = True, 0
        elif sample is not None:
            self.shows_worst, self.target = False, (self.target + 1) % len(sample.shown)
        else:
            self.shows_worst = False
            self.view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]
            self.row = min(self.row, max(0, self.count - 1))
        self.redraw()

    def action_order(self) -> None:
        """Sort the classes by the next figure."""
        self.measure = MEASURES[(MEASURES.index(self.measure) + 1) % len(MEASURES)]
        self.redraw()

    def action_reverse(self) -> None:
        """Reverse the order of the classes."""
        self.best_first = not self.best_first
        self.redraw()

    def action_choose(self) -> None:
        """Go from a pair of classes, or from a class, to its place in the matrix."""
        matrix = self._matrix
        if matrix is None or self._is_worst or self.view not in ("classes", "confusions") or not self.count:
            return
        if self.view == "confusions":
            pair = confusions(matrix)[self.row]
            self.row, self.column = pair.true, pair.predicted
        else:
            self.row = self.column = self._order(matrix)[self.row]
        self.view = "counts"
        self.redraw()

    def on_click(self, event: Click) -> None:
        """Highlight the row or the cell under the pointer; a double click on a row goes to its cell."""
        window = self._window
        if self._is_worst or (self._matrix is not None and self.view in ("classes", "confusions")):
            row = event.y - 1 - (self._is_worst or self.view == "classes")
            if 0 <= row < self._page and self._first + row < self.count:
                self.go(self._first + row)
                if event.chain == 2:
                    self.action_choose()
            return
        if self._matrix is None or window is None:
            return
        edge = self.stage in ("normal", "large")
        x, y = event.x - edge - 1 - window.name - 2, event.y - 2
        painted = look_of(self.app).paints_backgrounds
        row = (y - painted) // 2 if window.tall else y
        column = x // window.cell
        if 0 <= row < window.rows and 0 <= column < window.columns:
            self.row, self.column = window.row + row, window.column + column
            self.redraw()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Go down, or to the right with shift."""
        event.stop()
        self._wheel(_WHEEL_ROWS, sideways=event.shift)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Go up, or to the left with shift."""
        event.stop()
        self._wheel(-_WHEEL_ROWS, sideways=event.shift)

    def _wheel(self, rows: int, *, sideways: bool) -> None:
        if sideways:
            self._go_sideways(rows)
        else:
            self.go(self.row + rows)

    def watch_has_focus(self, has_focus: bool) -> None:
        """Show the highlight with the focus only."""
        super().watch_has_focus(has_focus)
        self._drawn_for = None
        self.refresh()

    def text_to_copy(self) -> str:
        """Return what the highlighted cell or line says."""
        matrix = self._matrix
        if self._is_worst:
            return self._worst[self.row].place
        if matrix is None:
            return "\n".join(f"{name} {value}" for name, value in self._figures())
        if self.view in ("counts", "shares"):
            names = matrix.classes
            count = matrix.counts[self.row][self.column]
            return f"true {printable(names[self.row])}, predicted {printable(names[self.column])}: {count}"
        lines = self.draw(*self.size)
        chosen = [line for line in lines if any(tone.endswith("on select") for _, tone in line)]
        return "".join(text for text, _ in chosen[0]).strip("│▌ ") if chosen else ""

    def _figures(self) -> list[tuple[str, str]]:
        sample = self._sample
        return figures(sample.shown[self.target]) if sample else []


def _title(name: str) -> Line:
    return [(name, "bold strong")]


def _indented(text: str, width: int) -> list[Line]:
    return [[("  ", "text"), (piece, "muted")] for piece in wrap(text, width)]
