"""The rows of the menu's list of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.drawn_runs import draw_runs
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.rows import problem_row
from torchconsole.tui.run_rows import COLUMNS, RunTable, spark


@pytest.mark.parametrize("name", ["run", "digits-mlp-20250101-120000", "x" * 300])
def test_what_cannot_be_read_fits_into_a_narrow_list(name: str) -> None:
    row = problem_row(Path("/runs") / name, "run.json: cannot be read: name is missing")
    for rows in ([row], [row, RunRecord("run", "/run", status="running", step=7)]):
        draw_runs(rows, 20)


FULL = {
    "status": "finished",
    "host": "gpu-07",
    "preset": "digits-cnn",
    "created": 1e9 - 7200,
    "epoch": 30,
    "total_epochs": 60,
    "lr": 0.001,
    "tags": ["paper"],
}


def full(name: str, metric: str = "val/loss") -> RunRecord:
    """A run that has something to show in every column."""
    best = {"metric": metric, "value": 0.25, "step": 7}
    return RunRecord(name, f"/runs/{name}", best=best, **FULL)  # type: ignore[arg-type]


def headings(records: list[RunRecord], width: int) -> list[str]:
    """Return the headings that fit."""
    table = RunTable(records, 1e9)
    return [COLUMNS[index].heading for index, _ in table.layout(width)]


def test_columns_give_way_in_a_fixed_order() -> None:
    records = [full("digits-cnn-20260102-030405"), full("other", "val/accuracy")]
    kept = headings(records, 200)
    assert len(kept) == len(COLUMNS)
    dropped: list[str] = []
    for width in range(200, 10, -1):
        shown = headings(records, width)
        dropped += [heading for heading in kept if heading not in shown]
        assert [heading for heading in kept if heading in shown] == shown
        kept = shown
    order = ["host", "lr", "epoch", "preset", "metric", "tags", "trend", "progress", "done", "age", "★ best"]
    assert dropped == [*order, "status"]
    assert kept == ["run"]


@pytest.mark.parametrize("width", [36, 76, 100, 198])
def test_one_long_name_leaves_room_for_the_other_columns(width: int) -> None:
    short, long = full("short"), full("x" * 300)
    alone = headings([full("a-name-of-usual-length-12345")], width)
    assert headings([short, long], width) == alone
    rows = draw_runs([short, long], width)
    assert all("0.2500" in row and "finished" in row for row in rows)
    assert "…" in rows[1]


def test_only_the_columns_that_the_user_wants() -> None:
    table = RunTable([full("one"), full("two", "val/f1")], 1e9, ["best", "host", "nothing"])
    shown = [COLUMNS[index].heading for index, _ in table.layout(198)]
    assert shown == ["run", "trend", "metric", "★ best", "host"]


def test_a_click_finds_the_column_below_the_pointer() -> None:
    table = RunTable([full("digits-cnn-20260102-030405")], 1e9)
    heading = "".join(text for text, _ in table.heading(120, "age"))
    for word, order in (("run", "name"), ("status", "status"), ("progress", "progress"), ("age", "age")):
        assert table.order_at(heading.index(word) + 1, 120) == order
    assert table.order_at(0, 120) is None
    assert table.order_at(119, 120) is None


def test_values_that_are_not_finite_are_seen() -> None:
    line = spark([3.0, 1.0, float("nan"), 2.0, float("inf")], 9, is_live=False)
    assert "".join(text for text, _ in line) == "▇▁✗▄✗"
    assert "".join(text for text, _ in spark([5.0] * 20, 9, is_live=True)) == "▁" * 9
    assert spark([], 9, is_live=True) == []
