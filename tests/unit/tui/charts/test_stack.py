"""A stack of charts: what has room, legends, the strip of marks, and the values at the cursor."""

from __future__ import annotations

import numpy as np
import pytest

from torchconsole.engine.protocol.buckets import Rows
from torchconsole.tui.charts.canvas import Line, width_of
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.legend import legend
from torchconsole.tui.charts.panels import Mark, Panel
from torchconsole.tui.charts.readout import value_at
from torchconsole.tui.charts.stack import Scene, Stack
from torchconsole.tui.charts.x_axis import XAxis

STEPS = np.arange(1, 601)
LOSS = Rows.single(STEPS, 2 * np.exp(-STEPS / 100) + 0.3 + 0.1 * np.sin(STEPS))
VAL = Rows.single(STEPS[49::50], 2 * np.exp(-STEPS[49::50] / 100) + 0.4)
PANELS = [
    Panel(
        "loss",
        [Curve("train", "train", LOSS, has_band=True), Curve("val", "val", VAL, "evaluations", best=600)],
        is_log=True,
    ),
    Panel("accuracy", [Curve("val", "val", VAL, "evaluations")]),
    Panel("grad norm", [Curve("", "muted", LOSS)]),
    Panel(
        "lr",
        [Curve("", "steer", LOSS, "exact")],
        is_exact=True,
        note=[(" held", "attn")],
        short_note=[("held", "attn")],
    ),
]
MARKS = [
    Mark(100, "▼", "muted", "checkpoint saved"),
    Mark(101, "◆", "steer", "lr 0.1 -> 0.01"),
    Mark(300, "↺", "good", "resumed from step 300"),
]


def scene(cursor: float | None = None, **more: object) -> Scene:
    """Return a live run after 600 of 1,000 steps."""
    toggles = [("y", "log"), ("smooth", ".9"), ("x", "step")]
    return Scene(PANELS, XAxis(0, 1000, 1), 600, MARKS, toggles, cursor, **more)  # type: ignore[arg-type]


def texts(lines: list[Line]) -> list[str]:
    """Return the lines without their tones."""
    return ["".join(text for text, _ in line) for line in lines]


@pytest.mark.parametrize(
    ("size", "framed", "titles"),
    [
        ((40, 7), False, []),
        ((80, 18), False, ["     lr"]),
        ((82, 32), True, [" lr 0."]),
        ((138, 49), True, [" accuracy", " grad norm", " lr 0."]),
    ],
)
def test_what_has_room(size: tuple[int, int], framed: bool, titles: list[str]) -> None:
    width, height = size
    lines = texts(Stack().draw(scene(has_frame=framed), width, height))
    assert len(lines) == height
    assert all(len(line) <= width for line in lines)
    rows = [line.strip("│") for line in lines[1:]]
    assert [
        title
        for title in (" accuracy", " grad norm", "     lr", " lr 0.")
        if any(row.startswith(title) for row in rows)
    ] == titles
    assert ("y log  smooth .9  x step" in lines[0]) == (width > 60)
    assert lines[0].startswith("╭─ loss") == framed


def test_toggles_give_way_one_by_one() -> None:
    shown = [texts(Stack().draw(scene(), width, 20))[0] for width in (80, 70, 61)]
    assert shown[0].endswith(" y log  smooth .9  x step ─")
    assert shown[1].endswith(" y log  x step ─")
    assert shown[2].endswith(" y log ─")


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 9), (20, 5), (10, 40), (500, 3), (300, 200)])
def test_any_size_is_filled_and_not_left(size: tuple[int, int]) -> None:
    for framed in (False, True):
        lines = Stack().draw(scene(300, has_frame=framed, is_dense=True), *size)
        assert len(lines) <= size[1]
        assert all(width_of(line) <= max(size[0], 4) for line in lines)


def test_the_charts_share_their_columns() -> None:
    lines = texts(Stack().draw(scene(500, has_frame=True), 138, 49))
    columns = {line.index("│", 12) for line in lines[2:30] if line[12:].count("│") > 1}
    assert len(columns) >= 1
    stack = Stack()
    stack.draw(scene(), 82, 32)
    assert stack.x is not None
    assert stack.plot_left + stack.x.columns <= 82


def test_the_strip_shows_changes_before_saves() -> None:
    strip = next(line for line in texts(Stack().draw(scene(), 82, 32)) if "marks" in line)
    assert [strip.count(sign) for sign in "◆▼↺●"] == [1, 0, 1, 1]


def test_the_y_axis_is_kept_while_the_values_stay_in_it() -> None:
    stack = Stack()

    def labels(rows: Rows) -> list[str]:
        shown = Scene([Panel("loss", [Curve("train", "train", rows)])], XAxis(0, 1000, 1))
        return [line[:6] for line in texts(stack.draw(shown, 60, 12))[1:]]

    before = labels(LOSS)
    assert labels(LOSS._replace(values=LOSS.values * 0.9)) == before
    assert labels(LOSS._replace(values=LOSS.values * 9)) != before


def test_the_scale_in_the_upper_edge_is_that_of_the_axis() -> None:
    def edge(rows: Rows, *, log: bool) -> str:
        panel = Panel("loss", [Curve("train", "train", rows)], is_log=log)
        shown = Scene([panel], XAxis(0, 1000, 1), toggles=[("x", "step")], scale="y")
        return texts(Stack().draw(shown, 80, 12))[0]

    short, empty = LOSS._replace(values=0.1 * LOSS.values + 1), LOSS._replace(values=LOSS.values * np.nan)
    assert "y log  x step" in edge(LOSS, log=True)
    assert "y lin  x step" in edge(LOSS, log=False)
    assert "y lin (<4x)  x step" in edge(short, log=True)
    assert "y log  x step" in edge(empty, log=True)


def test_a_narrow_lr_chart_shows_its_name_value_and_note_beside_it() -> None:
    lines = texts(Stack().draw(scene(), 80, 18))
    at = next(index for index, line in enumerate(lines) if line.startswith("     lr"))
    assert [line[:7].strip() for line in lines[at : at + 3]] == ["lr", "0.31", "held"]


def test_the_legend_shows_the_latest_values_the_best_and_where_values_are_not_finite() -> None:
    bad = LOSS._replace(values=np.where(STEPS >= 590, np.nan, LOSS.values))
    panel = Panel("loss", [Curve("train", "train", bad), *PANELS[0].curves[1:]])
    (line,) = texts([legend(panel, 80, has_names=True)])
    assert line == "loss  ━ train NaN  • val 0.4050  ★ 0.4050   NaN @ step 590 "
    (short,) = texts([legend(panel, 20, has_names=False)])
    assert short == "loss  ━ NaN  • 0.40…"


def test_the_cursor_reads_the_values_at_its_step() -> None:
    lines = texts(Stack().draw(scene(101, has_frame=True), 138, 49))
    whole = "\n".join(lines)
    assert f"━ train {LOSS.values[100]:.4f}" in whole
    assert f"• val {VAL.values[1]:.4f} @ 100" in whole
    assert "◆ lr 0.1 -> 0.01 @ 101" in whole
    assert " 101 " in lines[-2]
    assert any(line.strip("│").startswith(f" grad norm {LOSS.values[100]:.4f}") for line in lines)


def test_values_before_the_first_are_none() -> None:
    assert value_at(Curve("", "val", VAL, "evaluations"), 49) is None
    assert value_at(Curve("", "val", VAL, "evaluations"), 50) == VAL.values[0]
    assert value_at(Curve("", "val", VAL.take(slice(0)), "line"), 50) is None


def test_a_run_without_values_has_an_empty_plot() -> None:
    lines = texts(Stack().draw(Scene([Panel("loss", ())], XAxis(0, 16, 1)), 60, 12))
    assert "no data yet" in "\n".join(lines)
