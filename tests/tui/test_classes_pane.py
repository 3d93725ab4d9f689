"""The classes pane: heat map, figures of the classes, confusions, and regressions."""

from __future__ import annotations

import random

import pytest

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs
from tests.support.watching import Console, check_golden, watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import ConfusionMatrix, RegressionSample, TargetSample, WorstSample
from torchconsole.tui.widgets.classes_pane import ClassesPane
from torchconsole.tui.widgets.lines import line_width
from torchconsole.tui.widgets.worst_list import worst_table

SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))
ANIMALS = ["cat", "dog", "bird", "frog", "horse"]


def matrix(classes: list[str]) -> ConfusionMatrix:
    """Return a matrix in which some samples of each class are mistaken for the next class."""
    counts: list[list[int | float]] = [[0] * len(classes) for _ in classes]
    for number in range(len(classes)):
        wrong = 1 + number % 9
        counts[number][number] = 100 - wrong
        counts[number][(number + 1) % len(classes)] = wrong
    return ConfusionMatrix(classes=classes, counts=counts)


def evaluated(step: int = 23, **tables: object) -> ev.EvaluationCompleted:
    """Return an evaluation with these tables."""
    values = {"step": step, "epoch": 1, "metrics": {"val/loss": 0.5}, "seconds": 0.1, "time": NOON, **tables}
    return ev.EvaluationCompleted.model_validate(values)


def regression(targets: int = 1) -> RegressionSample:
    """Return predictions around their true values."""
    chance = random.Random(1)
    true = [chance.gauss(200, 80) for _ in range(300)]
    predicted = [value * 0.9 + 20 + chance.gauss(0, 15) for value in true]
    return RegressionSample(
        shown=[TargetSample(true=true, predicted=predicted)] * targets, samples=9000, targets=targets
    )


def worst() -> list[WorstSample]:
    """Return samples with high losses, of which the model predicts one right."""
    folder = "/data/animals/val"
    return [
        WorstSample(index=7, place=f"{folder}/cat/0007.png", loss=None, label="cat", predicted="cat"),
        WorstSample(
            index=3,
            place=f"{folder}/a-folder-with-a-rather-long-name/0003-\x1b[31m.png",
            loss=8.2441,
            label="dog",
            predicted="cat",
            probability=0.98765,
        ),
        WorstSample(
            index=4, place=f"{folder}/owl/1.png", loss=1e-7, label="owl", predicted="owl", probability=0.5
        ),
    ]


def pane(console: Console) -> ClassesPane:
    """Return the pane."""
    return console.app.run_screen.query_one(ClassesPane)


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("kind", ["few", "many", "regression", "worst"])
async def test_the_pane_matches_its_golden_files(kind: str, size: tuple[int, int]) -> None:
    tables = {
        "few": {"confusion": matrix(ANIMALS)},
        "many": {"confusion": matrix([f"class {number}" for number in range(100)])},
        "regression": {"regression": regression()},
        "worst": {"worst": worst(), "no_tables": "1,000 classes"},
    }[kind]
    run = ScriptedRun(*BEGINNING, *epochs(1, 1), evaluated(46, **tables))
    async with watching(run, size=size) as console:
        await console.press("4", "4")
        check_golden(f"classes-{kind}-{size[0]}x{size[1]}", console.text)


async def test_v_shows_shares_then_classes_then_confusions() -> None:
    run = ScriptedRun(*BEGINNING, evaluated(confusion=matrix([*ANIMALS[:4], "\x1b[31mowl"])))
    async with watching(run, size=(120, 40)) as console:
        await console.press("4")
        await console.shows("confusion val, step 23", "\\x1b[31m", "lowest recall first", "most confused")
        await console.press("v")
        await console.shows("% of row", "99.0", "95.0")
        await console.press("v")
        await console.shows("precision", "support", "by recall")
        await console.press("v")
        await console.shows("taken for cat", "5.0 % of them")
        await console.press("v")
        await console.shows("v counts")


async def test_the_classes_are_sorted_by_any_figure() -> None:
    async with watching(
        ScriptedRun(*BEGINNING, evaluated(confusion=matrix(ANIMALS))), size=(120, 40)
    ) as console:
        await console.press("4", "v", "v")

        def order() -> list[str]:
            words = [line.strip("│▌ ").split(" ")[0] for line in console.text.splitlines()]
            return [word for word in words if word in ANIMALS]

        assert order() == ["horse", "frog", "bird", "dog", "cat"]
        await console.press("O")
        assert order() == ["cat", "dog", "bird", "frog", "horse"]
        await console.press("O", "o")
        await console.shows("by precision")
        assert order() == ["cat", "horse", "frog", "bird", "dog"]
        await console.press("o", "o", "o")
        assert order() == ANIMALS


async def test_enter_on_a_confusion_goes_to_its_cell() -> None:
    async with watching(
        ScriptedRun(*BEGINNING, evaluated(confusion=matrix(ANIMALS))), size=(120, 40)
    ) as console:
        await console.press("4", "v", "v", "v", "j", "enter")
        await console.shows("true frog", "predicted horse", "4.0%", "[4]")
        assert pane(console).text_to_copy() == "true frog, predicted horse: 4"


async def test_a_hundred_classes_scroll_both_ways_and_keep_their_names() -> None:
    names = [f"class {number}" for number in range(100)]
    async with watching(
        ScriptedRun(*BEGINNING, evaluated(confusion=matrix(names))), size=(80, 24)
    ) as console:
        await console.press("4")
        await console.shows("class 0 ", "class 1 ")
        assert "class 99" not in console.text
        await console.press("G")
        await console.press_at_once(*["right"] * 120)
        await console.shows("class 99", "class 95", "[99]")
        await console.press("g", "ctrl+d", "j", "k", "ctrl+u", "pagedown", "left")
        assert 0 < pane(console).row < 99


async def test_a_click_highlights_a_cell_and_the_wheel_scrolls() -> None:
    names = [f"class {number}" for number in range(100)]
    async with watching(
        ScriptedRun(*BEGINNING, evaluated(confusion=matrix(names))), size=(120, 40)
    ) as console:
        await console.press("4")
        line = next(at for at, text in enumerate(console.text.splitlines()) if "class 3 " in text[:14])
        column = console.text.splitlines()[line].index("96")
        await console.pilot.click(offset=(column, line))
        await console.settle()
        assert (pane(console).row, pane(console).column) == (3, 3)
        pane(console).action_page_down()
        await console.settle()
        assert pane(console).row > 10


async def test_classes_and_confusions_are_searched() -> None:
    names = [f"class {number}" for number in range(100)]
    async with watching(
        ScriptedRun(*BEGINNING, evaluated(confusion=matrix(names))), size=(120, 40)
    ) as console:
        await console.press("4", "slash")
        await console.shows("search: words; n and N go on")
        await console.press(*"Class 3", "enter")
        await console.shows("/Class 3", "1 of 11", "true class 3 ")
        rows = []
        for key in ("n", "n", "N", "N", "N"):
            await console.press(key)
            rows.append(pane(console).row)
        assert rows == [30, 31, 30, 3, 39]
        await console.press("v", "v", "v", "slash", "end", "ctrl+u", *"taken for class 42", "enter")
        await console.shows("1 of 1", "class 41")
        await console.press("escape")
        await console.until(lambda: "taken for class 42" not in console.text.splitlines()[1])
        assert pane(console).query_text == ""
        assert console.app.run_screen.pane == "classes"


async def test_a_click_highlights_a_line_and_a_double_click_goes_to_its_cell() -> None:
    async with watching(
        ScriptedRun(*BEGINNING, evaluated(confusion=matrix(ANIMALS))), size=(120, 40)
    ) as console:
        await console.press("4", "v", "v", "v")
        lines = console.text.splitlines()
        y = next(number for number, line in enumerate(lines) if "frog" in line and "taken for" in line)
        region = pane(console).region
        row = y - region.y
        await console.pilot.click(ClassesPane, offset=(10, row))
        await console.until(lambda: pane(console).row == row - 1)
        await console.pilot.click(ClassesPane, offset=(10, row), times=2)
        await console.until(lambda: pane(console).view == "counts")


async def test_the_recall_says_whether_it_has_risen() -> None:
    async with watching(
        ScriptedRun(*BEGINNING, evaluated(confusion=matrix(ANIMALS))), size=(120, 40)
    ) as console:
        await console.press("4")
        better = matrix(ANIMALS)
        better.counts[0], better.counts[1] = [100, 0, 0, 0, 0], [0, 90, 10, 0, 0]
        console.run.emit(evaluated(46, confusion=better))
        await console.shows("1.000↑", "0.900↓")


async def test_it_says_why_there_is_nothing() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(120, 40)) as console:
        await console.press("4")
        await console.shows("Not evaluated yet")
        await console.press("j", "v", "o", "enter", "right")
        console.run.emit(evaluated(no_tables="1,000 classes; a matrix is shown for at most 100"))
        await console.shows("Nothing to show: 1,000 classes; a matrix is shown for at most 100.")


async def test_a_program_has_no_classes_and_is_not_told_to_evaluate() -> None:
    run = ScriptedRun(*BEGINNING)
    run.snapshot.state.config = {"script": {"file": "train.py"}}
    async with watching(run, size=(120, 40)) as console:
        await console.press("4")
        await console.shows(
            "Nothing to show: a program of yours reports its metrics, but not its predictions."
        )


async def test_a_regression_shows_points_and_differences_of_each_target() -> None:
    run = ScriptedRun(*BEGINNING, evaluated(regression=regression(targets=2)))
    async with watching(run, size=(120, 40)) as console:
        await console.press("4")
        await console.shows(
            "regression target 1 of 2", "300 of 9,000 samples", "residuals", "R²", "90 % are within"
        )
        await console.press("v")
        await console.shows("regression target 2 of 2")
        assert "R² " in pane(console).text_to_copy()


@pytest.mark.parametrize("values", [[1.0], [5.0, 5.0], [1e300, -1e300], [0.0, 0.0, 1e-300]])
async def test_unusual_predictions_are_drawn_too(values: list[float]) -> None:
    shown = [TargetSample(true=values, predicted=values)]
    sample = RegressionSample(shown=shown, samples=len(values), targets=1)
    async with watching(ScriptedRun(*BEGINNING, evaluated(regression=sample)), size=(120, 40)) as console:
        await console.press("4")
        await console.shows("regression", "residuals")


async def test_a_normalized_matrix_shows_its_shares() -> None:
    confusion = ConfusionMatrix(classes=["no", "yes"], counts=[[0.75, 0.25], [0.0, 1.0]])
    async with watching(ScriptedRun(*BEGINNING, evaluated(confusion=confusion)), size=(120, 40)) as console:
        await console.press("4")
        await console.shows("0.75", "0.25", "1.00", "n/a")


async def test_v_shows_the_worst_samples_after_the_confusions() -> None:
    run = ScriptedRun(*BEGINNING, evaluated(confusion=matrix(ANIMALS), worst=worst()))
    async with watching(run, size=(120, 40)) as console:
        await console.press("4", "v", "v", "v")
        await console.shows("taken for cat")
        await console.press("v")
        await console.shows("highest loss val, step 23", "8.24", "0.988", "0003-\\x1b[31m.png", "n/a")
        await console.press("j", "enter")
        assert pane(console).text_to_copy() == worst()[1].place
        await console.press("slash", *"owl/1", "enter")
        await console.until(lambda: pane(console).row == 2)
        await console.press("escape")
        await console.pilot.click(ClassesPane, offset=(10, 2))
        await console.until(lambda: pane(console).row == 0)
        console.run.emit(evaluated(46, confusion=matrix(ANIMALS), worst=worst()[:1]))
        await console.shows("highest loss val, step 46")
        await console.press("v")
        await console.shows("v counts")


@pytest.mark.parametrize("width", range(1, 60))
def test_the_worst_samples_fit_into_every_width(width: int) -> None:
    heading, lines = worst_table(worst(), width)
    assert max(map(line_width, [heading, *lines])) <= width
    texts = ["".join(text for text, _ in line) for line in [heading, *lines]]
    if width >= 32:
        assert all(word in texts[0] for word in ("loss", "true", "pred", "sample"))
        assert "dog" in texts[2]
        assert "cat" in texts[2]


@pytest.mark.parametrize("tables", [{"confusion": matrix(ANIMALS)}, {"regression": regression()}])
async def test_one_key_shows_the_worst_samples_with_their_pictures(tables: dict[str, object]) -> None:
    async with watching(ScriptedRun(*BEGINNING, evaluated(**tables, worst=worst())), (120, 40)) as console:
        await console.press("4")
        await console.shows("v view" if "regression" in tables else "v counts", "9 worst samples")
        console.run.emit(evaluated(46, **tables))
        await console.until(lambda: "9 worst samples" not in console.text)
        console.run.emit(evaluated(69, **tables, worst=worst()))
        await console.shows("9 worst samples")
        await console.press("9")
        await console.shows("results 3", "loss 8.24")


async def test_v_shows_the_worst_samples_after_the_targets_of_a_regression() -> None:
    facts = {"label": "151", "predicted": "75.2", "true": [151.0], "values": [75.2]}
    samples = [WorstSample(index=1, place="line 3 of a.csv", loss=2.5, **facts)]
    run = ScriptedRun(*BEGINNING, evaluated(regression=regression(targets=2), worst=samples))
    async with watching(run, size=(120, 40)) as console:
        await console.press("4", "v")
        await console.shows("regression target 2 of 2")
        await console.press("v")
        await console.shows("highest loss", "151", "75.2", "line 3 of a.csv")
        await console.press("v")
        await console.shows("regression target 1 of 2")
