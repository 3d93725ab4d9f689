"""The panes changes, model and preset."""

from __future__ import annotations

import pytest

from tests.support.scripted import BEGINNING, NOON, SUMMARY, ScriptedRun, epochs, running
from tests.support.watching import Console, check_golden, watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import SetLearningRate
from torchconsole.engine.protocol.info import LayerInfo, ModelSummary
from torchconsole.tui.widgets.model_pane import ModelPane
from torchconsole.tui.widgets.preset_pane import PresetPane

SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))
SETTINGS = {
    "title": "Digits, small CNN",
    "data": {"name": "digits", "batch_size": 32},
    "optimizer": {"name": "AdamW", "lr": 0.003, "betas": [0.9, 0.99]},
    "metrics": [{"name": "Accuracy"}, {"name": "ConfusionMatrix", "key": "matrix"}],
    "early_stopping": {"monitor": "val/loss", "patience": 7},
}


def steered() -> ScriptedRun:
    """Return a run whose lr was changed, with settings."""
    change = ev.CommandApplied(
        id="1",
        command=SetLearningRate(factor=0.5),
        step=40,
        by="me@pts/1",
        detail="lr 0.01 -> 0.005",
        time=NOON,
    )
    run = ScriptedRun(*BEGINNING, change)
    run.snapshot.state.config = SETTINGS
    return run


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize(("key", "name"), [("2", "log"), ("3", "changes"), ("5", "model"), ("8", "preset")])
async def test_a_pane_matches_its_golden_files(key: str, name: str, size: tuple[int, int]) -> None:
    async with watching(steered(), size=size) as console:
        await console.press(key, key)
        check_golden(f"pane-{name}-{size[0]}x{size[1]}", console.text)


async def test_a_change_is_asked_then_applied_or_refused() -> None:
    async with watching(running(), size=(120, 40)) as console:
        await console.press("3", "minus")
        await console.shows("asked", "lr x0.562", "1 asked")
        console.run.answer(95, "lr 0.01 -> 0.005623")
        await console.shows("◆ 15:06:40 step 95", "lr 0.01 -> 0.005623", "me@pts/1")
        await console.press("s")
        console.run.reject("the disk is full")
        await console.shows("✗", "refused", "save", "rejected: the disk is full")


def model(console: Console) -> ModelPane:
    """Return the pane."""
    return console.app.run_screen.query_one(ModelPane)


async def test_layers_are_sorted_and_searched() -> None:
    async with watching(steered(), size=(120, 40)) as console:
        await console.press("5")
        await console.shows("21,482 parameters, all trained", "316k MACs", "as built")
        names = [layer.name for layer in model(console).rows()]
        assert names == [layer.name for layer in SUMMARY.layers]
        await console.press("o")
        assert [layer.params for layer in model(console).rows()][:3] == [18944, 18432, 2570]
        await console.press("O")
        assert model(console).rows()[-1].params == 18944
        await console.press("slash", *"BatchNorm", "enter")
        await console.shows("1 of 2")


TREE = ModelSummary(
    layers=[
        LayerInfo(
            name=name,
            type=kind,
            depth=name.count("."),
            output_shape=[8],
            params=params,
            trainable=trainable,
            macs=900,
            activations=memory,
        )
        for name, kind, params, trainable, memory in (
            ("body", "Sequential", 90, 0, 4096),
            ("body.0", "Block", 60, 0, 3072),
            ("body.0.conv", "Conv2d", 60, 0, 2048),
            ("body.1", "Linear", 30, 0, 1024),
            ("head", "Linear", 10, 10, 0),
        )
    ],
    params=100,
    trainable=10,
    macs=1800,
    activations=4096,
    input_shape=[3],
)


def shown(console: Console) -> list[str]:
    """Return the names of the modules that are shown, and that of the highlighted one with a star."""
    pane = model(console)
    return [f"{row.name}{'*' * (row is pane.highlighted_row)}" for row in pane.rows()]


async def test_modules_are_a_tree_that_is_collapsed_and_expanded() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(120, 40)) as console:
        console.run.emit(ev.ModelSummarized(summary=TREE, time=NOON))
        await console.press("5", "g")
        await console.shows("▾ body", "▾ 0", "    conv", "trainable", "memory", "4 kB", "3 kB", "  head")
        everything = ["body*", "body.0", "body.0.conv", "body.1", "head"]
        assert shown(console) == everything
        await console.press("right")
        assert shown(console)[1] == "body.0*"
        await console.press("enter")
        await console.shows("▸ 0")
        assert shown(console) == ["body", "body.0*", "body.1", "head"]
        await console.press("left")
        assert shown(console)[0] == "body*"
        await console.press("left")
        await console.shows("▸ body")
        assert shown(console) == ["body*", "head"]
        await console.press("left", "down", "right", "left", "enter")
        assert shown(console) == ["body", "head*"]
        await console.press("up", "right", "down", "right")
        assert shown(console) == ["body", "body.0*", "body.0.conv", "body.1", "head"]


async def test_a_sorted_or_searched_model_shows_what_is_collapsed() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(120, 40)) as console:
        console.run.emit(ev.ModelSummarized(summary=TREE, time=NOON))
        await console.press("5", "g", "enter")
        assert len(shown(console)) == 2
        await console.press("o", "o", "o")
        await console.shows("memory")
        assert [name.rstrip("*") for name in shown(console)] == [
            "body", "body.0", "body.0.conv", "body.1", "head",
        ]  # fmt: skip
        await console.press("left", "right", "enter", "o")
        assert len(shown(console)) == 2
        await console.press("slash", *"conv", "enter")
        await console.shows("1 of 1")
        assert "body.0.conv*" in shown(console)


async def test_modules_that_are_no_tree_have_their_whole_names() -> None:
    deep = "encoder.layers.encoder_layer_11.self_attention.out_proj"
    layers = [layer.model_copy(update={"name": layer.name.replace("body.1", deep)}) for layer in TREE.layers]
    summary = TREE.model_copy(update={"layers": layers})
    async with watching(ScriptedRun(*BEGINNING), size=(120, 40)) as console:
        console.run.emit(ev.ModelSummarized(summary=summary, time=NOON))
        await console.press("5", "g")
        await console.shows("▾ body")
        assert "body.0.conv" not in console.text
        await console.press("o")
        await console.shows("│▌body.0.conv  ", deep)
        await console.press("o", "o", "o", "v")
        await console.shows("│▌body.0.conv  ", deep)
        await console.press("v", "O")
        await console.shows("body.0.conv", deep)


async def test_a_whole_name_that_is_too_long_keeps_its_end() -> None:
    names = ("encoder.layers.encoder_layer_11.self_attention.out_proj", "head")
    layers = [LayerInfo(name=name, type="Linear", depth=0, params=9, trainable=9) for name in names]
    summary = ModelSummary(layers=layers, params=18, trainable=18, input_shape=[3])
    async with watching(ScriptedRun(*BEGINNING), size=(40, 12)) as console:
        console.run.emit(ev.ModelSummarized(summary=summary, time=NOON))
        await console.press("5", "o")
        await console.shows("…", "attention.out_proj  ", "params")


@pytest.mark.parametrize(("width", "columns"), [(80, {"layer", "type", "params", "MACs"}), (40, {"params"})])
async def test_a_narrow_pane_keeps_the_parameters(width: int, columns: set[str]) -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(width, 24)) as console:
        console.run.emit(ev.ModelSummarized(summary=TREE, time=NOON))
        await console.press("5")
        await console.shows(*columns, "frozen")


async def test_frozen_layers_are_named() -> None:
    layers = [
        LayerInfo(name="body", type="Conv2d", depth=1, output_shape=[8], params=90, trainable=0, macs=900),
        LayerInfo(name="head", type="Linear", depth=1, output_shape=None, params=10, trainable=10, macs=None),
    ]
    summary = ModelSummary(
        layers=layers, params=100, trainable=10, macs=900, macs_complete=False, input_shape=[3]
    )
    async with watching(ScriptedRun(*BEGINNING), size=(100, 40)) as console:
        console.run.emit(ev.ModelSummarized(summary=summary, time=NOON))
        await console.press("5")
        await console.shows("100 parameters, 10 trained, >900 MACs", "frozen", "?")


async def test_the_inputs_of_a_program_are_left_out() -> None:
    layers = [
        LayerInfo(name="0", type="Linear", depth=0, output_shape=None, params=9, trainable=9, macs=None)
    ]
    summary = ModelSummary(layers=layers, params=9, trainable=9, macs=None, input_shape=[])
    async with watching(ScriptedRun(*BEGINNING), size=(80, 24)) as console:
        console.run.emit(ev.ModelSummarized(summary=summary, time=NOON))
        await console.press("5")
        await console.shows("9 parameters, all trained ─")


async def test_a_model_of_a_thousand_layers_is_shown_at_once() -> None:
    layers = [
        LayerInfo(name=f"blocks.{n}", type="Block", depth=2, output_shape=[n], params=n, trainable=n, macs=n)
        for n in range(1000)
    ]
    summary = ModelSummary(layers=layers, params=499500, trainable=499500, macs=499500, input_shape=[3])
    async with watching(ScriptedRun(*BEGINNING), size=(80, 24)) as console:
        console.run.emit(ev.ModelSummarized(summary=summary, time=NOON))
        await console.press("5", "G")
        await console.shows("999")


async def test_settings_are_searched_and_copied() -> None:
    async with watching(steered(), size=(80, 24)) as console:
        await console.press("8")
        await console.shows("optimizer.lr", "metrics.1.name", "ConfusionMatrix", "[0.9, 0.99]")
        await console.press("slash", *"patience", "enter")
        await console.shows("1 of 1")
        assert console.app.run_screen.query_one(PresetPane).text_to_copy() == "early_stopping.patience=7"


IMPORTED = {"title": "flowers", "imported": {"from": "/home/user/log.csv", "format": "CSV"}, "settings": {}}


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 60)], ids="{0[0]}x{0[1]}".format)
async def test_every_pane_of_an_imported_run_says_what_is_true(size: tuple[int, int]) -> None:
    evaluated = [event for event in epochs(1, 4) if isinstance(event, ev.EvaluationCompleted)]
    run = ScriptedRun(*(event.model_copy(update={"confusion": None}) for event in evaluated), live=False)
    run.snapshot.state.config = IMPORTED
    run.snapshot.state.status = "finished"
    texts = {
        "2": "run imported",
        "3": "no changes: an imported run has no journal",
        "4": "an imported run has metrics, but no predictions",
        "5": "no layers: the model of an imported run",
        "6": "no measurements: the device of an imported run",
        "7": "no checkpoints: an imported run has metrics, but no weights",
        "8": "/home/user/log.csv",
        "9": "no results: an imported run has only metrics",
    }
    async with watching(run, size=size) as console:
        run_screen = console.app.run_screen
        await console.until(lambda: run_screen.state.is_imported)
        for key, text in texts.items():
            await console.press(key, "g")
            await console.shows(text)
            assert "yet" not in console.text
            assert "evaluates now" not in console.text
