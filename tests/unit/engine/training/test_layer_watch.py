"""The statistics of layers equal those computed by hand, and measuring them does not change the training."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from tests.support.sessions import MakeSession, Session
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.protocol.commands import MeasureLayers
from torchconsole.engine.protocol.events import CommandApplied, LayersMeasured
from torchconsole.engine.protocol.info import LayerStatistics
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training import layer_watch, step_phases


@pytest.fixture(autouse=True)
def at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure as often as is asked for."""
    monkeypatch.setattr(layer_watch, "LEAST_SECONDS", 0.0)


def measured(run: Session) -> list[LayersMeasured]:
    """What a run has reported."""
    return run.event_queue.of(LayersMeasured)


def watched(run: Session, every: int = 1) -> Session:
    """Train with measurements from the first step on."""
    run.trainer.measure_layers(every)
    run.trainer.run()
    return run


def of(event: LayersMeasured) -> dict[str, LayerStatistics]:
    """The statistics by the layers' names."""
    return {layer.name: layer for layer in event.layers}


def norm(tensors: list[Tensor]) -> float:
    """The norm of all elements together."""
    return math.sqrt(sum(float((tensor.double() ** 2).sum()) for tensor in tensors))


def own(module: nn.Module) -> list[Tensor]:
    """A copy of a layer's own weights."""
    return [weight.detach().clone() for weight in module.parameters(recurse=False)]


class ByHand:
    """The tensors of the first step of a training that is not measured."""

    def __init__(self, run: Session) -> None:
        self.outputs: dict[str, Tensor] = {}
        self.gradients: dict[str, list[Tensor]] = {}
        layers = {
            name: layer for name, layer in run.setup.model.named_modules() if not list(layer.children())
        }
        self.before = {name: own(layer) for name, layer in layers.items()}
        for name, layer in layers.items():
            layer.register_forward_hook(self._noter(name))
            for weight in layer.parameters():
                weight.register_hook(lambda grad, name=name: self.gradients.setdefault(name, []).append(grad))
        run.trainer.run()
        self.after = {name: own(layer) for name, layer in layers.items()}

    def _noter(self, name: str) -> Any:
        def note(module: nn.Module, inputs: object, output: Tensor) -> None:
            if module.training:
                self.outputs[name] = output.detach().double()

        return note

    def check(self, found: LayerStatistics) -> None:
        """Check the statistics of a layer."""
        name = found.name
        assert found.mean == pytest.approx(float(self.outputs[name].mean()), rel=1e-4, abs=1e-6)
        assert found.deviation == pytest.approx(float(self.outputs[name].std(correction=0)), rel=1e-4)
        if not self.before[name]:
            assert (found.weight_norm, found.grad_norm, found.update_ratio) == (None, None, None)
            return
        changes = [new - old for new, old in zip(self.after[name], self.before[name], strict=True)]
        assert found.weight_norm == pytest.approx(norm(self.before[name]), rel=1e-5)
        assert found.grad_norm == pytest.approx(norm(self.gradients[name]), rel=1e-5)
        assert found.update_ratio == pytest.approx(norm(changes) / norm(self.before[name]), rel=1e-4)


@pytest.mark.parametrize("preset", ["digits-mlp", "digits-cnn"])
def test_the_statistics_of_a_step_equal_those_by_hand(session: MakeSession, preset: str) -> None:
    run = watched(session("training.max_steps=1", preset=preset))
    by_hand = ByHand(session("training.max_steps=1", preset=preset))
    (event,) = measured(run)
    assert (event.step, event.every, event.eager) == (1, 1, False)
    assert [layer.name for layer in event.layers] == list(by_hand.before)
    for layer in event.layers:
        by_hand.check(layer)


def test_gradients_are_those_of_the_whole_step_before_clipping(session: MakeSession) -> None:
    run = watched(session("training.max_steps=1", "training.grad_accum_steps=3", "training.clip_norm=0.001"))
    (event,) = measured(run)
    total = math.sqrt(sum((layer.grad_norm or 0.0) ** 2 for layer in event.layers))
    assert total == pytest.approx(run.event_queue.points[0].metrics["grad_norm"], rel=1e-5)
    assert total > 0.001


def test_the_outputs_are_those_of_all_batches_of_a_step(session: MakeSession) -> None:
    """With one layer, the outputs for three batches are those for one that is three times as large."""
    settings = ("training.max_steps=1", "model.hidden=[]", "model.dropout=0.0")
    many = watched(session(*settings, "training.grad_accum_steps=3", "data.batch_size=20"))
    one = watched(session(*settings, "data.batch_size=60"))
    found, expected = of(measured(many)[0]), of(measured(one)[0])
    for name, layer in found.items():
        assert layer.mean == pytest.approx(expected[name].mean, rel=1e-3, abs=1e-6)
        assert layer.deviation == pytest.approx(expected[name].deviation, rel=1e-4)


@pytest.mark.parametrize("kind", ["layer", "function"])
def test_dead_units_are_counted(kind: str) -> None:
    """Two of five units never fire: their bias keeps the activation at 0."""
    linear, activation = nn.Linear(3, 5), nn.ReLU()
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.copy_(torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]))
    layers = {"linear": linear, **({"activation": activation} if kind == "layer" else {})}
    measurement = layer_watch._Measurement(0, layers)
    measurement.attach()
    outputs = linear(torch.randn(4, 3))
    (activation(outputs) if kind == "layer" else outputs.relu()).sum().backward()
    measurement.read_gradients()
    measurement.detach()
    assert [layer.dead for layer in measurement.results()] == [pytest.approx(0.4)] * len(layers)


def test_units_of_images_are_channels_and_those_of_sequences_features() -> None:
    images, sequences = torch.zeros(2, 4, 3, 3), torch.zeros(2, 5, 4)
    images[:, 1, 0, 2] = sequences[0, 3, 1] = -1.0
    for outputs in (images, sequences):
        seen = layer_watch._Seen()
        layer_watch._look(seen, outputs, has_weights=False, is_channels_first=False)
        assert seen.alive is not None
        assert seen.alive.tolist() == [False, True, False, False]


def test_units_after_a_convolution_of_a_sequence_are_channels() -> None:
    """The bias keeps one of three channels at 0; after a layer of features, they are the units again."""
    conv, relu, linear, last = nn.Conv1d(1, 3, 2), nn.ReLU(), nn.Linear(5, 2), nn.ReLU()
    with torch.no_grad():
        for layer, bias in ((conv, [1.0, -1.0, 1.0]), (linear, [-1.0, 1.0])):
            layer.weight.zero_()
            assert layer.bias is not None
            layer.bias.copy_(torch.tensor(bias))
    layers = {"conv": conv, "relu": relu, "linear": linear, "last": last}
    measurement = layer_watch._Measurement(0, layers)
    measurement.attach()
    last(linear(relu(conv(torch.randn(4, 1, 6))))).sum().backward()
    measurement.read_gradients()
    dead = {layer.name: layer.dead for layer in measurement.results()}
    assert (dead["relu"], dead["last"]) == (pytest.approx(1 / 3), pytest.approx(1 / 2))


def test_complex_weights_are_measured_and_integers_are_left_out() -> None:
    mixed = nn.Linear(3, 2, dtype=torch.cfloat)
    mixed.register_parameter("order", nn.Parameter(torch.arange(3), requires_grad=False))
    measurement = layer_watch._Measurement(0, {"mixed": mixed})
    measurement.attach()
    inputs = torch.ones(1, 3, dtype=torch.cfloat)
    mixed(inputs)[:, 0].abs().sum().backward()
    measurement.read_gradients()
    (found,) = measurement.results()
    values = [weight.detach().abs() for weight in (mixed.weight, mixed.bias)]
    assert found.weight_norm == pytest.approx(norm(values), rel=1e-5)
    assert found.grad_norm == pytest.approx(2.0)
    assert (found.update_ratio, found.dead) == (0.0, 0.5)


@pytest.mark.parametrize("part", ["__init__", "read_gradients", "results"])
def test_each_part_of_a_measurement_may_fail(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    def refuse(*arguments: object) -> None:
        raise ValueError("nothing to see")

    monkeypatch.setattr(layer_watch._Measurement, part, refuse)
    run = watched(session("training.max_steps=3"))
    assert run.state.progress.step == 3
    assert not measured(run)
    assert caplog.text.count("the layers cannot be measured: ValueError: nothing to see") == 1
    assert not any(module._forward_hooks for module in run.setup.model.modules())


@pytest.mark.parametrize("compiles", ["false", "true"])
def test_an_output_that_cannot_be_measured_does_not_end_the_pass(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, compiles: str
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise ValueError("a strange output")

    monkeypatch.setattr(layer_watch, "_look", refuse)
    run = watched(session("training.max_steps=2", "data.limit=400", f"training.compile={compiles}"))
    assert run.state.progress.step == 2
    assert not measured(run)
    assert caplog.text.count("the layers cannot be measured: ValueError: a strange output") == 1


def test_a_device_that_fails_ends_the_measurement_and_the_run(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise torch.AcceleratorError("device-side assert")

    monkeypatch.setattr(layer_watch, "_look", fail)
    with pytest.raises((torch.AcceleratorError, TrainingError)):
        watched(session("training.max_steps=2"))


def test_parametrized_layers_train_the_same(session: MakeSession) -> None:
    """Each access to the weight of a layer with spectral norm makes a step of its power iteration."""
    states = []
    for every in (0, 2):
        run = session("training.max_steps=6", "data.limit=400")
        torch.manual_seed(1)
        spectral_norm(run.setup.model.get_submodule("layers.1"))
        watched(run, every)
        states.append({name: value.clone() for name, value in run.setup.model.state_dict().items()})
    assert len(measured(run)) == 3
    assert_same(*states)


def test_a_measured_step_is_not_sampled_for_its_times(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longer than the others."""
    monkeypatch.setattr(step_phases, "SAMPLE_SECONDS", 0.0)
    run = session("training.max_steps=6", "data.limit=400")
    sampled: list[int] = []
    close = run.trainer.phases.close

    def closed() -> None:
        sampled.append(run.state.progress.step)
        close()

    monkeypatch.setattr(run.trainer.phases, "close", closed)
    watched(run, every=3)
    assert [event.step for event in measured(run)] == [1, 4]
    assert sampled
    assert not {1, 4} & set(sampled)


def test_recurrent_layers_and_values_that_are_not_finite() -> None:
    recurrent, linear = nn.LSTM(3, 4), nn.Linear(4, 2)
    measurement = layer_watch._Measurement(0, {"recurrent": recurrent, "linear": linear})
    measurement.attach()
    outputs, _ = recurrent(torch.randn(5, 2, 3))
    (linear(outputs) * torch.tensor(math.inf)).sum().backward()
    measurement.read_gradients()
    first, second = measurement.results()
    assert first.mean == pytest.approx(float(outputs.detach().mean()), rel=1e-4)
    assert second.grad_norm is None
    assert second.nonfinite["grad_norm"] in ("nan", "inf")


def test_outputs_that_cannot_be_read_have_no_mean() -> None:
    scripted: nn.Module = torch.jit.script(nn.Linear(3, 2))
    sparse = nn.Identity()
    measurement = layer_watch._Measurement(0, {"scripted": scripted, "sparse": sparse})
    measurement.attach()
    scripted(torch.zeros(1, 3)).sum().backward()
    sparse(torch.eye(3).to_sparse())
    measurement.read_gradients()
    first, second = measurement.results()
    assert (first.mean, second.mean) == (None, None)
    assert first.grad_norm == pytest.approx(math.sqrt(2))


def test_a_measurement_that_fails_is_a_warning(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(measurement: layer_watch._Measurement) -> None:
        raise ValueError("no hooks today")

    monkeypatch.setattr(layer_watch._Measurement, "attach", refuse)
    run = watched(session("training.max_steps=3"))
    assert run.state.progress.step == 3
    assert not measured(run)
    assert caplog.text.count("the layers cannot be measured: ValueError: no hooks today") == 1


def test_one_step_of_every_n_is_measured(session: MakeSession) -> None:
    run = watched(session("training.max_steps=11"), every=4)
    assert [event.step for event in measured(run)] == [1, 5, 9]


def test_measurements_have_a_least_distance_in_time(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_watch, "LEAST_SECONDS", 1e9)
    assert len(measured(watched(session("training.max_steps=5")))) == 1


@pytest.mark.parametrize(
    "settings",
    [
        ("model.dropout=0.5", "training.clip_norm=0.1"),
        ("training.grad_accum_steps=3", "ema.decay=0.9"),
        ("training.precision=bf16", "loss.l1=0.001"),
        ("training.nonfinite=skip",),
        ("training.compile=true", "model.dropout=0.5"),
    ],
    ids=" ".join,
)
def test_the_training_is_the_same_to_the_last_bit(session: MakeSession, settings: tuple[str, ...]) -> None:
    limits = ("training.max_steps=6", "data.limit=400")
    plain = session(*limits, *settings)
    plain.trainer.run()
    run = watched(session(*limits, *settings), every=2)
    assert len(measured(run)) == 3
    assert run.event_queue.losses == plain.event_queue.losses
    assert_same(run.state.state_dict(), plain.state.state_dict())


def assert_same(found: Any, expected: Any) -> None:
    """Compare two states, except for times."""
    if isinstance(expected, Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected.keys() - {"active_seconds", "preset"}:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, int | float | str):
        assert found == expected


def test_a_compiled_training_is_measured_in_a_pass_of_its_own(session: MakeSession) -> None:
    settings = ("training.max_steps=1", "model.dropout=0.0", "data.limit=400")
    compiled = watched(session(*settings, "training.compile=true"))
    plain = watched(session(*settings))
    (event,), (expected,) = measured(compiled), measured(plain)
    assert event.eager
    for found, other in zip(event.layers, expected.layers, strict=True):
        assert found.grad_norm == (other.grad_norm and pytest.approx(other.grad_norm, rel=1e-3))
        assert found.update_ratio == (other.update_ratio and pytest.approx(other.update_ratio, rel=1e-3))
        assert found.mean == pytest.approx(other.mean, rel=1e-3, abs=1e-6)


def test_a_command_begins_and_ends_the_measurements(session: MakeSession) -> None:
    run = session("training.max_steps=9")
    asked = {2: MeasureLayers(every=1), 5: MeasureLayers(every=0)}

    def ask(point: MetricsPoint) -> None:
        if command := asked.get(point.step):
            run.commands.put(str(point.step), command, "me")

    run.event_queue.on_log = ask
    run.trainer.run()
    assert [event.step for event in measured(run)] == [3, 4, 5]
    applied = run.event_queue.of(CommandApplied)
    assert [event.detail for event in applied] == [
        "layers measured every step",
        "layers not measured any more",
    ]


def test_without_measurements_nothing_watches(session: MakeSession) -> None:
    run = session("training.max_steps=2")
    run.trainer.measure_layers(1)
    run.trainer.measure_layers(0)
    run.trainer.run()
    assert not measured(run)
    assert not any(module._forward_hooks for module in run.setup.model.modules())
