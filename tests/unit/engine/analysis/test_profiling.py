"""`profile`: counts and shares that can be computed by hand, a trace, and a training that stays the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from tests.support.sessions import setup_for
from torchconsole.engine.analysis import profiling
from torchconsole.engine.analysis.profiling import TIMED, WARM_UP, profile_report, profile_steps
from torchconsole.engine.components import phase_progress
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.events import PhaseChanged
from torchconsole.engine.protocol.profile_report import ProfileReport
from torchconsole.engine.training import step_profile
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.randomness import seed_everything
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.step import TrainingStep
from torchconsole.engine.training.step_phases import StepPhases
from torchconsole.engine.training.step_profile import StepProfile, usual_steps

STEPS = 4
SGD = "optimizer={name='SGD', lr=0.01, momentum=0.9}"


@pytest.fixture(scope="module")
def setup() -> TrainingSetup:
    return setup_for(load_preset("digits-mlp", [SGD, "schedule=[]"]))


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trace") / "trace.json"


@pytest.fixture(scope="module")
def report(setup: TrainingSetup, trace: Path) -> ProfileReport:
    return profile_steps(setup, STEPS, trace=trace)


def test_slow_steps_are_counted(setup: TrainingSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[PhaseChanged] = []
    monkeypatch.setattr(profiling, "print_phase", reported.append)
    monkeypatch.setattr(phase_progress, "INTERVAL", 0.0)
    profile_steps(setup, STEPS)
    total = WARM_UP + TIMED + STEPS
    assert [(each.done, each.total) for each in reported] == [(n + 1, total) for n in range(total)]


def linears(setup: TrainingSetup) -> list[str]:
    return [name for name, module in setup.model.named_modules() if isinstance(module, nn.Linear)]


def test_operations_are_counted_per_step_and_their_shares_add_up(
    setup: TrainingSetup, report: ProfileReport
) -> None:
    assert (report.device, report.steps, report.first_step, report.on_gpu) == (
        "cpu", STEPS, WARM_UP + TIMED + 1, False,
    )  # fmt: skip
    calls = {each.name: each.calls for each in report.operations}
    assert calls["aten::addmm"] == calls["AddmmBackward0"] == len(linears(setup))
    assert sum(each.share for each in report.operations) == pytest.approx(1)
    assert sum(each.seconds for each in report.operations) <= report.step_seconds
    seconds = [each.seconds for each in report.operations]
    assert seconds == sorted(seconds, reverse=True)


def test_each_layer_has_the_time_of_both_passes(setup: TrainingSetup, report: ProfileReport) -> None:
    by_name = {each.name: each for each in report.layers}
    for name in linears(setup):
        assert by_name[name].type == "Linear"
        assert by_name[name].forward > 0
        assert by_name[name].backward > 0
    assert set(by_name) <= {name for name, _ in setup.model.named_modules()}
    assert 0.2 < sum(each.share for each in report.layers) < 1


def test_the_parts_of_steps_are_timed_without_the_profiler(report: ProfileReport) -> None:
    assert report.times is not None
    assert list(report.times.parts)[:4] == ["data_wait", "forward", "backward", "optimizer"]
    assert all(report.times.parts[part] > 0 for part in ("forward", "backward", "optimizer"))


def test_the_memory_holds_weights_gradients_and_momentum(setup: TrainingSetup, report: ProfileReport) -> None:
    weights = 4 * sum(weight.numel() for weight in setup.model.parameters())
    assert report.memory is not None
    assert report.memory.peak == max(report.memory.allocated) > 3 * weights
    assert report.memory.peak < 3 * weights + 2**21
    assert report.memory.reserved is None
    assert len(report.memory.seconds) <= step_profile.MOST_POINTS
    assert report.memory.seconds == sorted(report.memory.seconds)


def test_slow_steps_are_in_no_figure(setup: TrainingSetup) -> None:
    """As the first one often is, or one that another process has held up."""
    profile = StepProfile(setup)
    step = TrainingStep(setup, Progress(), LossMeter())
    setup.model.train()
    batches = list(setup.data.train.epoch(0))[:6]
    profile.start()
    for number, batch in enumerate(batches):
        step(*batch)
        if number in (0, 4):
            torch.arange(10_000_000).flip(0).sort()
        profile.end_step()
    profile.stop()
    report = profile.report(1)
    assert report.steps == 6
    assert report.left_out >= 2
    assert "aten::sort" not in {each.name for each in report.operations}
    [addmm] = [each for each in report.operations if each.name == "aten::addmm"]
    assert addmm.calls == 3
    assert sum(each.share for each in report.operations) == pytest.approx(1)


@pytest.mark.parametrize(
    ("durations", "usual"),
    [
        ([29.0, 1.5, 1.4, 1.6, 3.3], [1, 2, 3]),
        ([1.0], [0]),
        ([5.0, 1.0], [0, 1]),
        ([1.0, 2.0, 1.0, 2.0], [0, 1, 2, 3]),
    ],
)
def test_outliers_take_more_than_twice_the_median(durations: list[float], usual: list[int]) -> None:
    assert usual_steps(durations) == usual


def test_the_trace_is_what_perfetto_reads(report: ProfileReport, trace: Path) -> None:
    assert report.trace == str(trace)
    events = json.loads(trace.read_text())["traceEvents"]
    names = {event.get("name") for event in events if event.get("ph") == "X"}
    assert {"aten::addmm", "module: "} <= names


def test_a_profiled_training_is_the_same(setup: TrainingSetup) -> None:
    """Dropout included: the profiler draws no random numbers. Its hooks are gone afterwards."""
    batches = list(setup.data.train.epoch(0))[:STEPS]
    start = {name: value.clone() for name, value in setup.model.state_dict().items()}
    trained = []
    for is_profiled in (False, True):
        setup.model.load_state_dict(start)
        setup.model.train()
        setup.optimizer.state.clear()
        seed_everything(1)
        step = TrainingStep(setup, Progress(), LossMeter())
        profile = StepProfile(setup)
        if is_profiled:
            profile.start()
        for batch in batches:
            step(*batch)
        if is_profiled:
            profile.stop()
        trained.append({name: value.clone() for name, value in setup.model.state_dict().items()})
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in start)
    assert not torch_module._global_forward_hooks
    assert not torch_module._global_forward_pre_hooks


def test_the_layers_of_a_compiled_model_are_not_named(setup: TrainingSetup) -> None:
    training = setup.preset.training.model_copy(update={"compile": True})
    compiled = dataclasses.replace(setup, preset=setup.preset.model_copy(update={"training": training}))
    found = profile_steps(compiled, 1)
    assert found.layers == []
    assert found.operations
    assert found.times is not None
    assert found.times.is_compiled


def test_a_report_is_made_of_a_preset_file(tmp_path: Path) -> None:
    file = tmp_path / "preset.toml"
    write_preset(load_preset("iris-mlp"), file)
    assert profile_report(str(file), "1", "").steps == 1
    with pytest.raises(TorchconsoleError, match=r"missing/trace\.json: cannot be written"):
        profile_report(str(file), "1", str(tmp_path / "missing" / "trace.json"))


def test_a_device_without_a_clock_has_no_times(setup: TrainingSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the host alone are not those of the steps."""

    def phases_of_mps(*arguments: object, **named: object) -> StepPhases:
        return StepPhases(torch.device("mps"))

    monkeypatch.setattr(profiling, "StepPhases", phases_of_mps)
    assert profile_steps(setup, 1).times is None


def test_user_code_that_runs_a_profiler_is_named(setup: TrainingSetup) -> None:
    with torch.profiler.profile(), pytest.raises(TorchconsoleError, match="runs a profiler of its own"):
        StepProfile(setup).start()
    assert not torch_module._global_forward_hooks
