"""The model pane while the layers are measured."""

from __future__ import annotations

from tests.support.scripted import BEGINNING, NOON, ScriptedRun
from tests.support.watching import Console, watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import FreezeLayer, MeasureLayers, UnfreezeLayer
from torchconsole.engine.protocol.info import LayerInfo, LayerStatistics, ModelSummary
from torchconsole.tui.widgets.layer_table import LayerReadings

LAYERS = [
    LayerInfo(name=name, type=kind, depth=name.count("."), output_shape=[8], params=params, trainable=params)
    for name, kind, params in (
        ("body", "Sequential", 200),
        ("body.0", "Linear", 100),
        ("body.1", "ReLU", 0),
        ("body.2", "Linear", 100),
        ("head", "Linear", 25),
    )
]
SUMMARY = ModelSummary(layers=LAYERS, params=225, trainable=225, input_shape=[3])


def measured(step: int = 51, *, eager: bool = False, **head: object) -> ev.LayersMeasured:
    """A measurement in which `body.0` vanishes and `body.1` is dead; `head` are values of the last layer."""
    values: dict[str, object] = {"weight_norm": 2.0, "grad_norm": 0.5, "update_ratio": 0.001}
    layers = [
        LayerStatistics(
            name="body.0",
            weight_norm=3.0,
            grad_norm=9e-4,
            update_ratio=1e-6,
            dead=0.0,
            mean=0.1,
            deviation=1.5,
        ),
        LayerStatistics(name="body.1", dead=0.4, mean=0.25, deviation=0.5),
        LayerStatistics(name="body.2", weight_norm=3.0, grad_norm=1.1e-3, update_ratio=1e-3, dead=0.39),
        LayerStatistics.model_validate({"name": "head", **values, **head}),
    ]
    return ev.LayersMeasured(step=step, every=50, eager=eager, layers=layers, time=NOON)


def words(event: ev.LayersMeasured) -> dict[str, str]:
    """What is said of each layer."""
    readings = LayerReadings(LAYERS, event, {})
    return {layer.name: readings.words(layer, with_inner=False) for layer in LAYERS}


def test_vanishing_is_a_thousandth_of_the_largest_mean_square_and_dead_are_two_fifths() -> None:
    # The head's gradient is 0.5 / sqrt(25) = 0.1; those of the body are divided by 10.
    fine = {"body": "", "head": "", "body.2": ""}
    assert words(measured()) == {**fine, "body.0": "vanishing", "body.1": "dead"}
    assert words(measured(grad_norm=0.4)) == {**fine, "body.0": "", "body.1": "dead"}


def test_exploding_is_a_change_of_a_tenth_or_a_value_that_is_not_finite() -> None:
    assert words(measured(update_ratio=0.1))["head"] == ""
    assert words(measured(update_ratio=0.11))["head"] == "exploding"
    assert words(measured(grad_norm=None, nonfinite={"grad_norm": "inf"}))["head"] == "exploding"


def test_a_module_counts_what_is_wrong_inside_it() -> None:
    readings = LayerReadings(LAYERS, measured(), {})
    assert readings.words(LAYERS[0], with_inner=True) == "1 vanishing, 1 dead"


def test_a_frozen_layer_has_no_fault_and_a_trend_without_warnings() -> None:
    frozen = [LAYERS[0], LAYERS[1].model_copy(update={"trainable": 0}), *LAYERS[2:]]
    norms = {"body.0": [1.0, 2.0, "nan", None, None], "head": [None, None]}
    readings = LayerReadings(frozen, measured(), norms)
    assert readings.words(frozen[1], with_inner=False) == ""
    assert readings.words(frozen[0], with_inner=True) == "1 dead"
    assert readings.table.cells["trend"](frozen[1]).rstrip() == "▁▇!··"
    assert readings.table.cells["trend"](frozen[-1]) == ""


async def test_a_layer_without_a_gradient_is_not_taken_for_one_with_a_nonfinite_gradient() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(120, 40)) as console:
        await open_pane(console)
        none = {"grad_norm": None, "update_ratio": None}
        console.run.emit(measured(51), measured(101, **none))
        await console.shows("▁·")
        console.run.emit(measured(151, grad_norm=None, nonfinite={"grad_norm": "nan"}))
        await console.shows("▁·!")


async def open_pane(console: Console) -> None:
    """Open the pane with the layers of this module."""
    console.run.emit(ev.ModelSummarized(summary=SUMMARY, time=NOON))
    await console.press("5", "g")


async def test_i_has_the_layers_measured_and_ends_that() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(120, 40)) as console:
        await open_pane(console)
        await console.shows("i statistics")
        await console.press("i")
        assert console.run.commands == [MeasureLayers(every=50)]
        await console.shows("measure layers every 50 steps requested")
        console.run.answer(95, "layers measured every 50 steps")
        await console.shows("layers measured every 50 steps · at step 95")
        console.run.emit(measured(51), measured(101, grad_norm=None, nonfinite={"grad_norm": "inf"}))
        await console.shows("measured in step 101, every 50 steps", "weights", "gradient", "update", "dead")
        await console.shows("0.0009", "▁▁", "1e-6", "40%", "0.25", "dead", "▁!", "inf", "exploding")
        await console.press("left")
        await console.shows("▸ body", "1 dead")
        await console.press("i")
        assert console.run.commands[-1] == MeasureLayers(every=0)
        ended = {"id": "1", "step": 120, "by": "me@pts/1", "time": NOON}
        console.run.emit(ev.CommandApplied(command=MeasureLayers(every=0), detail="not measured", **ended))
        await console.shows("225 parameters, all trained")


async def test_an_uncompiled_pass_is_named() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(100, 30)) as console:
        await open_pane(console)
        console.run.emit(measured(eager=True))
        await console.shows("measured in step 51 in an uncompiled pass, every 50 steps")


async def test_a_narrow_pane_keeps_the_gradients_and_the_words() -> None:
    for size in ((40, 12), (60, 20), (80, 24)):
        async with watching(ScriptedRun(*BEGINNING), size=size) as console:
            await open_pane(console)
            console.run.emit(measured())
            await console.shows("gradient", "0.0009", "vanishing", "dead")


async def test_f_freezes_the_highlighted_module_and_trains_it_again() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(120, 40)) as console:
        await open_pane(console)
        await console.shows("f freeze")
        await console.press("down", "f")
        assert console.run.commands == [FreezeLayer(layer="body.0")]
        await console.shows("freeze body.0 requested")
        console.run.answer(95, "froze body.0 (100 parameters)")
        frozen = SUMMARY.model_copy(deep=True, update={"trainable": 125})
        frozen.layers[1].trainable = 0
        console.run.emit(ev.ModelSummarized(summary=frozen, time=NOON))
        await console.shows("froze body.0 (100 parameters)", "125 trained", "frozen", "trainable")
        await console.press("f")
        assert console.run.commands[-1] == UnfreezeLayer(layer="body.0")
        console.run.reject("body.0 is not frozen")
        await console.shows("unfreeze body.0 rejected: body.0 is not frozen")
        await console.press("3")
        await console.shows("unfreeze body.0", "refused")


async def test_a_run_that_takes_no_commands_offers_no_statistics() -> None:
    run = ScriptedRun(*BEGINNING, ev.ModelSummarized(summary=SUMMARY, time=NOON), live=False)
    async with watching(run, size=(120, 40)) as console:
        await console.press("5")
        assert "i statistics" not in console.text
        await console.press("i")
        assert console.run.commands == []
        await console.shows("cannot measure the layers")
