"""Where the time of a step goes, and in words what to change about it."""

from __future__ import annotations

from dataclasses import dataclass

from torchconsole.engine.protocol.commands import ProfileSteps
from torchconsole.engine.protocol.info import StepTimes
from torchconsole.tui.device_readings import BUSY_GPU, WAIT_SHARE, data_remedy, data_verdict
from torchconsole.tui.run_log import describe_effect
from torchconsole.tui.state import ConsoleState

_NAMES = {"data_wait": "data wait"}
_TONES = {
    "data_wait": "meterhist", "transfer": "meterdim", "forward": "train", "backward": "banddot",
    "communication": "gooddim", "optimizer": "meter", "logging": "meterhist", "other": "meterdim",
}  # fmt: skip
_LIMITS = {
    "data_wait": WAIT_SHARE, "transfer": 0.1, "communication": 0.4, "logging": 0.05, "other": 0.2,
    "optimizer": 0.3,
}  # fmt: skip
"""Shares of a step from which on a part of it is worth a change."""


@dataclass(frozen=True)
class Share:
    """A part of a step: its share from 0 to 1. `letter` stands for it where colors do not."""

    name: str
    share: float
    tone: str

    @property
    def letter(self) -> str:
        """The first letter of the name; a dash for all the rest."""
        return "-" if self.name == "other" else self.name[0]


@dataclass(frozen=True)
class StepVerdict:
    """What the shares mean. `is_warning`: there is something to change."""

    text: str
    is_warning: bool


def step_times(state: ConsoleState) -> StepTimes | None:
    """Return how long the parts of a step take; None if that is not measured (yet), or the run has ended."""
    telemetry = None if state.has_ended else state.run.telemetry
    times = telemetry.step_times if telemetry else None
    return times if times and sum(times.parts.values()) > 0 else None


def last_profile(state: ConsoleState) -> str:
    """Return what the last profile of this run says; empty if there is none."""
    for applied in reversed(state.run.changes):
        if isinstance(applied.command, ProfileSteps):
            return f"step {applied.step:,}: {describe_effect(applied)}"
    return ""


def step_shares(times: StepTimes) -> list[Share]:
    """Return the parts of a step, in order; they add up to 1."""
    total = sum(times.parts.values())
    return [
        Share(
            _NAMES.get(part, part),
            seconds / total,
            "attn" if _is_much(part, seconds / total) else _TONES.get(part, "meter"),
        )
        for part, seconds in times.parts.items()
    ]


def _is_much(part: str, share: float) -> bool:
    return part in _LIMITS and share >= _LIMITS[part]


def step_verdict(state: ConsoleState, times: StepTimes) -> StepVerdict:
    """Return what holds the training up most, with the key of the preset to change."""
    total = sum(times.parts.values())
    shares = {part: seconds / total for part, seconds in times.parts.items()}
    much = {
        part: f"takes {100 * share:.0f} % of a step"
        for part, share in shares.items()
        if _is_much(part, share)
    }
    size = _now(state, "data", "batch_size")
    if "data_wait" in much and (verdict := data_verdict(state)):
        return StepVerdict(f"{verdict}; {data_remedy(state)}", is_warning=True)
    if "transfer" in much:
        key = "data.pin_memory" if _setting(state, "data", "pin_memory") is False else "data.in_memory"
        text = f"copying batches to the GPU {much['transfer']}; set {key} = true"
    elif "communication" in much:
        text = f"waiting for the other processes {much['communication']}; see the ranks"
    elif "logging" in much:
        text = f"logging {much['logging']}; raise training.log_every{_now(state, 'training', 'log_every')}"
    elif "other" in much:
        text = f"the loop around the model {much['other']}; raise data.batch_size{size}"
    elif "optimizer" in much:
        text = f"updating the weights {much['optimizer']}; raise data.batch_size{size}"
    else:
        return _of_compute(state, shares.get("forward", 0.0) + shares.get("backward", 0.0), size)
    return StepVerdict(text, is_warning=True)


def _of_compute(state: ConsoleState, compute: float, size: str) -> StepVerdict:
    """Return whether the GPU is busy with the model, where there is one."""
    run = state.run
    gpu = run.telemetry.gpu(run.device.device) if run.telemetry and run.device else None
    if gpu is not None and gpu.percent is not None and gpu.percent < 100 * BUSY_GPU:
        compiles = _setting(state, "training", "compile") is True
        other = "" if compiles else " or set training.compile = true"
        return StepVerdict(
            f"the GPU is busy only {gpu.percent:.0f} % of the time; raise data.batch_size{size}{other}",
            is_warning=True,
        )
    text = f"forward and backward pass take {100 * compute:.0f} % of a step: the model sets the pace"
    return StepVerdict(text, is_warning=False)


def _setting(state: ConsoleState, section: str, key: str) -> object:
    values = state.run.config.get(section)
    return values.get(key) if isinstance(values, dict) else None


def _now(state: ConsoleState, section: str, key: str) -> str:
    value = _setting(state, section, key)
    return f" (now {value})" if isinstance(value, int) else ""
