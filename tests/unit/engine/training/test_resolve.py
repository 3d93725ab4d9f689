"""What a preset leaves open is decided by facts alone, in one place; what it states stays as it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pytest

from torchconsole.engine.components.data.one_by_one import WorkerLimit
from torchconsole.engine.components.data.types import TextRecord
from torchconsole.engine.config.data_schema import NormalizeConfig, TargetScaleConfig
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.schema import Preset, ScheduleConfig
from torchconsole.engine.training.precision import Format
from torchconsole.engine.training.resolve import milliseconds, resolve

MEASURED = NormalizeConfig(mean=[0.3], std=[0.5])


@dataclass
class Facts:
    """A probe whose answers are given; it records which trials were made."""

    device_type: str = "cpu"
    precision: Format = "fp32"
    in_memory: bool = True
    measured: NormalizeConfig | None = MEASURED
    texts: TextRecord | None = None
    target_scale: TargetScaleConfig | Literal[False] = False
    steps_per_epoch: int = 23
    step_milliseconds: dict[int, float] = field(default_factory=lambda: {1: 0.5})
    fused: bool = True
    convolutions: bool = True
    most_workers: WorkerLimit | None = None
    load_milliseconds: float = 0.0
    tried_threads: list[int] = field(default_factory=list)
    tried_channels_last: bool = False

    @property
    def threads(self) -> int:
        return max(self.step_milliseconds)

    def load_seconds(self) -> float:
        return self.load_milliseconds / 1000

    def takes_fused(self) -> bool:
        return self.fused

    def higher_is_better(self, monitor: str) -> bool:
        return "accuracy" in monitor

    def complete_schedule(self, parts: Sequence[ScheduleConfig]) -> list[ScheduleConfig]:
        return [part.model_copy(update={"interval": part.interval or "step"}) for part in parts]

    def takes_channels_last(self) -> bool:
        self.tried_channels_last = True
        return self.convolutions

    def step_seconds(self, threads: int) -> float:
        self.tried_threads.append(threads)
        return self.step_milliseconds[threads] / 1000


def preset(name: str, overrides: Sequence[str] = ()) -> Preset:
    """The preset, with the number of threads left open."""
    return load_preset(name, ["training.threads=auto", *overrides])


def test_everything_left_open_is_decided() -> None:
    left_open = ["early_stopping.monitor=val/accuracy", "schedule.1.interval="]
    resolved = resolve(preset("digits-cnn", left_open), Facts())
    assert [part.interval for part in resolved.schedule] == ["step", "step"]
    training = resolved.training
    assert (training.precision, training.threads, training.log_every) == ("fp32", 1, 1)
    assert training.channels_last is True
    assert resolved.data.in_memory is True
    assert resolved.data.normalize == MEASURED
    assert resolved.optimizer.arguments["fused"] is True
    assert resolved.early_stopping is not None
    assert resolved.early_stopping.mode == "max"


def test_what_the_preset_states_stays() -> None:
    stated = preset(
        "digits-cnn",
        [
            "training.threads=3",
            "training.log_every=7",
            "training.channels_last=false",
            "early_stopping.mode=max",
            "optimizer.fused=false",
            "data.normalize=none",
        ],
    )
    facts = Facts(fused=False)
    resolved = resolve(stated, facts)
    assert (resolved.training.threads, resolved.training.log_every) == (3, 7)
    assert resolved.training.channels_last is False
    assert resolved.early_stopping is not None
    assert resolved.early_stopping.mode == "max"
    assert resolved.optimizer.arguments["fused"] is False
    assert resolved.data.normalize == "none"
    assert (facts.tried_threads, facts.tried_channels_last) == ([], False)


def test_deciding_a_second_time_changes_nothing() -> None:
    once = resolve(preset("digits-cnn"), Facts())
    assert resolve(once, Facts(fused=False, steps_per_epoch=9000), from_checkpoint=True) == once


@pytest.mark.parametrize(("steps", "log_every"), [(1, 1), (99, 1), (250, 2), (9000, 90)])
def test_an_epoch_has_about_a_hundred_lines(steps: int, log_every: int) -> None:
    assert resolve(preset("digits-mlp"), Facts(steps_per_epoch=steps)).training.log_every == log_every


def test_an_optimizer_that_was_not_fused_is_resumed_so() -> None:
    assert "fused" not in resolve(preset("digits-mlp"), Facts(), from_checkpoint=True).optimizer.arguments


def test_a_mean_and_std_that_were_not_recorded_are_measured_again_on_a_resume() -> None:
    assert resolve(preset("digits-mlp"), Facts(), from_checkpoint=True).data.normalize == "auto"


@pytest.mark.parametrize(("device", "channels_last"), [("cuda", True), ("cpu", False)])
def test_compiled_code_gets_its_memory_format_without_a_trial(device: str, channels_last: bool) -> None:
    facts = Facts(device_type=device)
    resolved = resolve(preset("digits-cnn", ["training.compile=true"]), facts)
    assert resolved.training.channels_last is channels_last
    assert not facts.tried_channels_last


@pytest.mark.parametrize(
    ("step_milliseconds", "chosen", "tried"),
    [
        ({2: 0.9, 1: 0.5}, 1, [2, 1]),
        ({2: 0.50, 1: 0.52}, 1, [2, 1]),
        ({2: 0.5, 1: 0.9}, 2, [2, 1]),
        ({8: 3.0, 4: 2.0, 2: 2.1, 1: 4.0}, 2, [8, 4, 2, 1]),
        ({2: 70.0, 1: 10.0}, 1, [2, 1]),
        ({2: 1100.0, 1: 900.0}, 2, [2]),
        ({1: 0.5}, 1, []),
    ],
)
def test_the_fewest_threads_that_are_as_fast_are_used(
    step_milliseconds: dict[int, float], chosen: int, tried: list[int]
) -> None:
    facts = Facts(step_milliseconds=step_milliseconds)
    assert resolve(preset("digits-mlp"), facts).training.threads == chosen
    assert facts.tried_threads == tried


def test_the_choice_of_threads_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        resolve(preset("digits-mlp"), Facts(step_milliseconds={2: 370, 1: 9.14}))
    assert "using 1 of 2 CPU threads: 9.1 ms a step (370 ms with all)" in caplog.messages


@pytest.mark.parametrize(
    ("override", "device"),
    [("training.compile=true", "cpu"), ("training.deterministic=true", "cpu"), ("training.seed=1", "cuda")],
)
def test_compiled_and_deterministic_runs_and_those_on_a_gpu_keep_all_threads(
    override: str, device: str
) -> None:
    """Compiled code is made for a number of threads, and sums depend on it."""
    facts = Facts(device_type=device, step_milliseconds={2: 0.9, 1: 0.5})
    assert resolve(preset("digits-mlp", [override]), facts).training.threads == 2
    assert facts.tried_threads == []


@pytest.mark.parametrize(
    ("device", "most", "load", "chosen"),
    [
        ("cuda", 15, 0.0, 15),
        ("cuda", 0, 9.0, 0),
        ("cuda", None, 9.0, 0),
        ("cpu", 15, 2.0, 0),
        ("cpu", 15, 2.1, 1),
        ("cpu", 15, 35.0, 4),
        ("cpu", 3, 350.0, 3),
        ("cpu", 0, 350.0, 0),
        ("cpu", None, 9.0, 0),
    ],
)
def test_data_loader_workers_are_used_where_they_help(
    device: str, most: int | None, load: float, chosen: int
) -> None:
    """On the CPU, as many as keep up with a step of 10 ms, if loading takes more than a fifth of it."""
    limit = None if most is None else WorkerLimit(most)
    facts = Facts(device, step_milliseconds={1: 10.0}, most_workers=limit, load_milliseconds=load)
    assert resolve(preset("digits-mlp"), facts).data.num_workers == chosen
    stated = resolve(preset("digits-mlp", ["data.num_workers=7"]), facts)
    assert stated.data.num_workers == 7


def test_the_choice_of_workers_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    facts = Facts(step_milliseconds={1: 10.0}, most_workers=WorkerLimit(9), load_milliseconds=35)
    with caplog.at_level(logging.INFO):
        resolve(preset("digits-mlp"), facts)
    reason = "loading a batch takes 35 ms in one process, a step 10 ms"
    assert f"using 4 data loader workers (data.num_workers): {reason}" in caplog.messages


@pytest.mark.parametrize(("load", "warned"), [(5.0, False), (35.0, True)])
def test_too_little_shared_memory_is_warned_of_only_if_more_workers_would_help(
    load: float, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    limit = WorkerLimit(2, "9 would need more: enlarge it")
    resolve(
        preset("digits-mlp"),
        Facts(step_milliseconds={1: 10.0}, most_workers=limit, load_milliseconds=load),
    )
    text = "data.num_workers: only 2 data loader workers; 9 would need more: enlarge it"
    assert (text in caplog.text) is warned


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.000523, "0.52 ms"), (0.00914, "9.1 ms"), (0.37, "370 ms"), (0.0996, "100 ms")]
)
def test_durations_have_two_digits(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text


@pytest.mark.parametrize("from_checkpoint", [False, True])
def test_the_vocabulary_of_texts_is_recorded(from_checkpoint: bool) -> None:
    facts = Facts(measured=None, texts=TextRecord(4, "fine dull", 7))
    data = resolve(load_preset("text-classification"), facts, from_checkpoint=from_checkpoint).data
    assert (data.arguments["vocabulary"], data.arguments["max_length"]) == ("fine dull", 7)
