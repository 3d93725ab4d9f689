"""Which keys of a run's preset may change when it is resumed, and why the others may not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.loading import set_key, validate
from torchconsole.engine.config.schema import EarlyStoppingConfig, Preset
from torchconsole.engine.errors import PresetError

MAY_CHANGE = ""

POLICY = {
    "": "the saved state belongs to it",
    "title": MAY_CHANGE,
    "description": MAY_CHANGE,
    "needs": MAY_CHANGE,
    "data": "the next sample would not be the one that follows where the run stopped",
    "data.root": MAY_CHANGE,
    "data.download": MAY_CHANGE,
    "data.num_workers": MAY_CHANGE,
    "data.pin_memory": MAY_CHANGE,
    "data.eval_batch_size": MAY_CHANGE,
    "model": "the saved weights belong to it",
    "loss": "the losses before and after it could not be compared",
    "optimizer": "it is saved with the optimizer's state",
    "optimizer.lr": "the schedule began with it; in a live run: torchconsole send RUN lr VALUE",
    "schedule": "the place in the schedule is saved with the run",
    "metrics": MAY_CHANGE,
    "early_stopping.monitor": "the best checkpoint so far was chosen by it",
    "early_stopping.mode": "the best checkpoint so far was chosen by it",
    "early_stopping.patience": MAY_CHANGE,
    "early_stopping.min_delta": MAY_CHANGE,
    "early_stopping.restore_best": MAY_CHANGE,
    "ema": MAY_CHANGE,
    "checkpoint": MAY_CHANGE,
    "training.seed": "split, order and random numbers go by it",
    "training.grad_accum_steps": "steps, and the schedule with them, would count something else",
    "training.epochs": MAY_CHANGE,
    "training.max_steps": MAY_CHANGE,
    "training.max_minutes": MAY_CHANGE,
    "training.eval_every": MAY_CHANGE,
    "training.eval_interval": MAY_CHANGE,
    "training.device": MAY_CHANGE,
    "training.threads": MAY_CHANGE,
    "training.precision": MAY_CHANGE,
    "training.compile": MAY_CHANGE,
    "training.channels_last": MAY_CHANGE,
    "training.deterministic": MAY_CHANGE,
    "training.log_every": MAY_CHANGE,
    "training.clip_norm": MAY_CHANGE,
    "training.clip_value": MAY_CHANGE,
    "training.nonfinite": MAY_CHANGE,
}
"""Key or section -> why it may not change on a resume, or MAY_CHANGE. The longest that fits a key decides."""

Changes = dict[str, tuple[Any, Any]]
"""Key -> its value before and after; None where it is not set."""


def change(preset: Preset, overrides: Sequence[str], catalogue: Catalogue | None = None) -> Preset:
    """The preset of a run with `key=value` overrides, for a resume.

    Raises PresetError with a line for each mistake and for each key that may not change.
    """
    content = preset.model_dump(mode="json", exclude_none=True)
    for override in overrides:
        set_key(content, override, catalogue)
    changed = validate(content, "preset.toml", catalogue, overrides)
    refused = [f"{key} cannot change on a resume: {why}" for key, why in _refusals(preset, changed)]
    if refused:
        way_out = "a new run can begin with this run's weights: torchconsole train PRESET --from RUN"
        raise PresetError(*refused, way_out)
    return changed


def differences(before: Preset, after: Preset) -> Changes:
    """The keys whose values differ, by their dotted names."""
    old, new = dict(_leaves(_plain(before))), dict(_leaves(_plain(after)))
    keys = dict.fromkeys([*old, *new])
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def _refusals(before: Preset, after: Preset) -> Iterator[tuple[str, str]]:
    for key in differences(before, after):
        if why := _policy(key):
            yield key, why


def _policy(key: str) -> str:
    """By the key itself, else by the nearest section around it."""
    while key not in POLICY:
        key = key.rpartition(".")[0]
    return POLICY[key]


def _plain(preset: Preset) -> dict[str, Any]:
    """Without early stopping a run goes by its defaults, but for the stopping."""
    content = preset.model_dump(mode="json")
    if preset.early_stopping is None:
        content["early_stopping"] = EarlyStoppingConfig().model_dump(mode="json") | {"patience": None}
    return content


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not key):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else name)
    else:
        yield key, value
