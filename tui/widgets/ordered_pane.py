"""A pane of entries that can be sorted in several orders, reversed, and narrowed to one of several views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torchconsole.tui.user_keys import key_named
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.rows_pane import RowsPane

Row = TypeVar("Row")

ALL = "all"


class OrderedPane(RowsPane[Row]):
    """Subclasses give all rows in their first order, the key of the others, and what the views show."""

    VIEWS: Sequence[str] = (ALL,)

    order = ""
    """One of `orders()`; empty for the first."""
    is_reversed = False
    view = ALL

    def all_rows(self) -> Sequence[Row]:
        """Return the rows of all views, in the first order."""
        raise NotImplementedError

    def orders(self) -> Sequence[str]:
        """Return the names of the orders."""
        raise NotImplementedError

    def sort_key(self, row: Row, order: str) -> float | str | None:
        """Return what sorts a row; None for a row that has no such value, and comes last."""
        raise NotImplementedError

    def is_in_view(self, row: Row, view: str) -> bool:
        """Whether a row is shown in a view other than ALL."""
        return True

    @property
    def arrangement(self) -> tuple[str, bool, str]:
        """What `source()` of a subclass must contain besides the rows."""
        return self.order, self.is_reversed, self.view

    @property
    def is_first_order(self) -> bool:
        """Whether the rows are in the order in which they are given, or in its reverse."""
        return self.order not in self.orders()[1:]

    def rows(self) -> Sequence[Row]:
        """Return the rows of the view, sorted."""
        rows = self.all_rows()
        if self.view != ALL:
            rows = [row for row in rows if self.is_in_view(row, self.view)]
        if self.is_first_order:
            return rows[::-1] if self.is_reversed else rows
        keys = [self.sort_key(row, self.order) for row in rows]
        having = [index for index, key in enumerate(keys) if key is not None]
        having.sort(key=lambda index: keys[index], reverse=self.is_reversed)  # type: ignore[arg-type, return-value]
        return [rows[index] for index in having] + [
            row for row, key in zip(rows, keys, strict=True) if key is None
        ]

    @property
    def follows(self) -> bool:
        """Whether the newest row is at the end, and in view."""
        return super().follows and self.is_first_order and not self.is_reversed

    @property
    def keeps_newest(self) -> bool:
        """Whether the newest row is highlighted, and stays so."""
        if self.FOLLOWS_END and self.is_first_order and self.is_reversed:
            return self.highlighted == 0
        return self.follows

    @property
    def newest(self) -> int:
        """The place of the newest row."""
        return 0 if self.is_reversed else super().newest

    def why_empty(self) -> str:
        """Return what is shown without rows."""
        if self.view != ALL and self.all_rows() and not self.rows():
            return f"nothing in the view `{self.view}`; {key_named(self.app, 'view')} shows another"
        return super().why_empty()

    def arranged(self, title: Line) -> Line:
        """Return a title, and the order and the view that differ from the usual."""
        parts = [] if self.view == ALL else [self.view]
        if not self.is_first_order:
            parts.append(f"by {self.order}")
        if self.is_reversed:
            parts.append("reversed")
        return [*title, (f"  {', '.join(parts)}", "attn")] if parts else title

    def action_order(self) -> None:
        """Sort by the next order."""
        orders = self.orders()
        at = 0 if self.is_first_order else orders.index(self.order)
        self.order = orders[(at + 1) % len(orders)]
        self.redraw()

    def action_reverse(self) -> None:
        """Reverse the order."""
        self.is_reversed = not self.is_reversed
        self.redraw()

    def action_view(self) -> None:
        """Show the next view."""
        self.view = self.VIEWS[(self.VIEWS.index(self.view) + 1) % len(self.VIEWS)]
        self.redraw()
