"""Orders and views of the panes: `o`, `O` and `v` in each of them, and what is followed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.scripted import BEGINNING, NOON, SUMMARY, ScriptedRun, epochs
from tests.support.watching import Console, watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import PauseRun, SetLearningRate
from torchconsole.engine.protocol.info import LayerInfo, ModelSummary
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.checkpoints import CheckpointInfo
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.checkpoints_pane import CheckpointsPane
from torchconsole.tui.widgets.model_pane import ModelPane
from torchconsole.tui.widgets.ordered_pane import ALL, OrderedPane

SETTINGS = {
    "title": "Digits, small CNN",
    "data": {"name": "digits", "batch_size": 32, "val_split": 0.2},
    "optimizer": {"name": "SGD", "lr": 0.003},
}


def log(level: str, message: str) -> ev.LogWritten:
    """Return a line of the log."""
    return ev.LogWritten.model_validate({"level": level, "message": message, "time": NOON})


def steered() -> ScriptedRun:
    """Return a run with lines of all kinds."""
    change = {"step": 40, "by": "me@pts/1", "time": NOON}
    run = ScriptedRun(
        *BEGINNING,
        log("warning", "the lr is high"),
        log("output", "printed by user code"),
        *epochs(1, 1),
        ev.CommandApplied(id="1", command=SetLearningRate(factor=0.5), detail="lr 0.01 -> 0.005", **change),
        ev.CommandApplied(id="2", command=PauseRun(), detail="paused", **change),
        ev.ModelSummarized(summary=SUMMARY, time=NOON),
    )
    run.snapshot.state.config = SETTINGS
    return run


def pane(console: Console) -> OrderedPane[object]:
    """Return the pane that has the focus."""
    focused = console.app.run_screen.focused
    assert isinstance(focused, OrderedPane)
    return focused


def texts(console: Console) -> list[str]:
    """Return the text of each row."""
    return [pane(console).text_of(row) for row in pane(console).rows()]


@pytest.mark.parametrize("key", "2358")
async def test_each_pane_has_an_order_its_reverse_and_views(key: str) -> None:
    async with watching(steered(), size=(120, 40)) as console:
        await console.press(key)
        given = texts(console)
        await console.press("O")
        assert texts(console) == given[::-1]
        await console.press("O", *["o"] * len(pane(console).orders()))
        assert texts(console) == given
        for _ in pane(console).VIEWS[1:]:
            await console.press("v")
            assert pane(console).view in console.text
            assert len(texts(console)) < len(given)
        await console.press("v")
        assert pane(console).view == ALL
        assert texts(console) == given


async def test_the_views_of_the_log() -> None:
    async with watching(steered(), size=(120, 40)) as console:
        await console.press("2", "v")
        await console.shows("log  events", "the lr is high")
        assert "printed by user code" not in console.text
        assert "val/loss" not in "".join(texts(console))
        await console.press("v")
        assert all("val/loss" in text for text in texts(console))
        await console.press("v")
        assert texts(console) == ["printed by user code"]


async def test_a_reversed_log_keeps_the_newest_line_highlighted_at_its_top() -> None:
    async with watching(steered(), size=(120, 40)) as console:
        await console.press("2", "O", "g")
        console.run.emit(log("info", "the newest"))
        await console.until(lambda: texts(console)[0] == "the newest")
        assert pane(console).text_to_copy() == "the newest"
        await console.press("j")
        kept = pane(console).text_to_copy()
        console.run.emit(log("info", "newer still"))
        await console.until(lambda: texts(console)[0] == "newer still")
        assert pane(console).text_to_copy() == kept


async def test_severe_lines_come_first_by_level() -> None:
    async with watching(steered(), size=(120, 40)) as console:
        await console.press("2", "o")
        await console.shows("by level")
        assert texts(console)[0] == "the lr is high"
        assert texts(console)[-1] == "printed by user code"


async def test_only_the_settings_that_were_chosen_are_shown() -> None:
    async with watching(steered(), size=(120, 40)) as console:
        await console.press("8", "v")
        assert "data.val_split=0.2" not in texts(console)
        assert "optimizer.lr=0.003" in texts(console)


async def test_a_view_without_rows_says_how_to_leave_it() -> None:
    async with watching(steered(), size=(120, 40)) as console:
        await console.press("3", "v", "v")
        await console.shows("nothing in the view `refused`; v shows another")


def test_the_best_checkpoint_by_a_metric_comes_first() -> None:
    pane = CheckpointsPane(ConsoleState(RunState(name="run", folder="")))
    values = (0.5, 0.9, None)

    def key(metric: str, value: float | None) -> float | str | None:
        info = CheckpointInfo("", "", 1, 1, False, False, False, {metric: value}, 9, None, "")
        return pane.sort_key(info, metric)

    assert [key("val/loss", value) for value in values] == [0.5, 0.9, None]
    assert [key("val/accuracy", value) for value in values] == [-0.5, -0.9, None]


def test_the_layers_of_a_large_model_are_found_in_one_pass() -> None:
    class Read(list[LayerInfo]):
        passes = 0

        def __iter__(self) -> Iterator[LayerInfo]:
            self.passes += 1
            return super().__iter__()

    names = ["", "head", "body", *(f"body.{number}.conv" for number in range(300)), "body.0"]
    layers = Read(LayerInfo(name=name, type="Conv2d", depth=1, params=1, trainable=1) for name in names)
    run = RunState(name="x", folder="/x", summary=ModelSummary.model_construct(layers=layers))
    pane = ModelPane(ConsoleState(run))
    shown = [layer.name for layer in layers if pane.is_in_view(layer, "layers")]
    assert shown == [name for name in names if name not in ("body", "body.0")]
    assert layers.passes < 5
