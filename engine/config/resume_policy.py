"""When a key of a run's preset may change: in the live run, on a resume, or never and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torchconsole.engine.config.catalogue import DETERMINISTIC_TRANSFORMS, Catalogue
from torchconsole.engine.config.loading import set_key, validate
from torchconsole.engine.config.schema import EarlyStoppingConfig, Preset
from torchconsole.engine.errors import PresetError

When = Literal["now", "next epoch", "on resume", "never"]


@dataclass(frozen=True)
class Rule:
    """When a key may change. A rule that allows an earlier moment allows a resume too."""

    when: When
    reason: str = ""
    """Why the key may never change."""


NOW, NEXT_EPOCH, ON_RESUME = Rule("now"), Rule("next epoch"), Rule("on resume")

_SAMPLES = Rule("never", "the run would not continue with the sample that follows")
_WEIGHTS = Rule("never", "the saved weights belong to it")
_LOSS = Rule("never", "the losses before and after the change could not be compared")
_OPTIMIZER = Rule("never", "it is saved with the optimizer's state")
_TRAINED = Rule("never", "the optimizer's state belongs to the parameters that are trained")
_BEST = Rule("never", "the best checkpoint so far was chosen by it")

POLICY: dict[str, Rule] = {
    "title": NOW,
    "description": NOW,
    "needs": NOW,
    "group": NOW,
    "data": _SAMPLES,
    "data.name": _SAMPLES,
    "data.root": ON_RESUME,
    "data.download": ON_RESUME,
    "data.task": _SAMPLES,
    "data.batch_size": _SAMPLES,
    "data.eval_batch_size": ON_RESUME,
    "data.val_split": _SAMPLES,
    "data.test_split": _SAMPLES,
    "data.stratify": _SAMPLES,
    "data.normalize": Rule("never", "the model was trained on inputs that are normalized by it"),
    "data.transforms.train": _SAMPLES,
    "data.transforms.val": Rule("never", "the evaluations before and after the change could not be compared"),
    "data.transforms.batch": _SAMPLES,
    "data.sampler": _SAMPLES,
    "data.drop_last": _SAMPLES,
    "data.in_memory": ON_RESUME,
    "data.num_workers": NEXT_EPOCH,
    "data.on_corrupt": NEXT_EPOCH,
    "data.max_corrupt": NEXT_EPOCH,
    "data.loader_timeout": NEXT_EPOCH,
    "data.pin_memory": NEXT_EPOCH,
    "data.limit": _SAMPLES,
    "data.overfit_batches": _SAMPLES,
    "model": _WEIGHTS,
    "model.name": _WEIGHTS,
    "model.weights": _WEIGHTS,
    "model.strict": _WEIGHTS,
    "model.rename": _WEIGHTS,
    "model.freeze": _TRAINED,
    "model.unfreeze_at_epoch": _TRAINED,
    "model.init": _WEIGHTS,
    "loss": _LOSS,
    "loss.name": _LOSS,
    "loss.weight": _LOSS,
    "loss.factor": _LOSS,
    "loss.also": _LOSS,
    "loss.l1": _LOSS,
    "loss.l2": _LOSS,
    "optimizer": _OPTIMIZER,
    "optimizer.name": _OPTIMIZER,
    "optimizer.lr": Rule(
        "never", "the schedule began with it; in a live run use torchconsole send RUN lr VALUE"
    ),
    "optimizer.decay_norm_and_bias": _OPTIMIZER,
    "optimizer.groups": _OPTIMIZER,
    "schedule": Rule("never", "the position in the schedule is saved with the run"),
    "metrics": ON_RESUME,
    "early_stopping.monitor": _BEST,
    "early_stopping.mode": _BEST,
    "early_stopping.patience": NOW,
    "early_stopping.min_delta": NOW,
    "early_stopping.restore_best": NOW,
    "ema": ON_RESUME,
    "ema.decay": ON_RESUME,
    "checkpoint.keep": NOW,
    "checkpoint.save_every_minutes": NOW,
    "checkpoint.save_every_steps": NOW,
    "training.epochs": ON_RESUME,
    "training.max_steps": ON_RESUME,
    "training.max_minutes": NOW,
    "training.seed": Rule("never", "the split, the order and the random numbers depend on it"),
    "training.deterministic": ON_RESUME,
    "training.device": ON_RESUME,
    "training.precision": ON_RESUME,
    "training.compile": ON_RESUME,
    "training.channels_last": ON_RESUME,
    "training.threads": ON_RESUME,
    "training.grad_accum_steps": Rule("never", "a step would be another number of samples"),
    "training.clip_norm": NOW,
    "training.clip_value": NOW,
    "training.nonfinite": ON_RESUME,
    "training.eval_every": NOW,
    "training.eval_interval": NOW,
    "training.log_every": NOW,
}
"""Key -> its rule. A section's rule is for the arguments of the component that the section names."""

Changes = dict[str, tuple[Any, Any]]
"""Key -> its value before and after; None where it is not set."""


def change(preset: Preset, overrides: Sequence[str], catalogue: Catalogue | None = None) -> Preset:
    """Apply `key=value` overrides to a run's preset for a resume.

    Raises PresetError with a line for each mistake and for each key that may not change.
    """
    content = preset.model_dump(mode="json", exclude_none=True)
    for override in overrides:
        set_key(content, override, catalogue)
    changed = validate(content, "preset.toml", catalogue, overrides)
    refused = [f"{key} cannot change on a resume: {why}" for key, why in _refusals(preset, changed)]
    if refused:
        way_out = "to start a new run with this run's weights: torchconsole train PRESET --from RUN"
        raise PresetError(*refused, way_out)
    return changed


def differences(before: Preset, after: Preset) -> Changes:
    """The keys whose values differ, by their dotted names."""
    old, new = dict(_leaves(_plain(before))), dict(_leaves(_plain(after)))
    keys = dict.fromkeys([*old, *new])
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def rule_for(key: str) -> Rule:
    """Return the rule of a key, or that of the nearest section around it (for arguments of components)."""
    while key not in POLICY:
        key = key.rpartition(".")[0]
    return POLICY[key]


def _refusals(before: Preset, after: Preset) -> Iterator[tuple[str, str]]:
    for key in differences(before, after):
        rule = rule_for(key)
        if rule.when == "never":
            yield key, rule.reason
        elif key == "data.in_memory" and _has_random_transforms(before):
            yield key, "random transforms of whole batches in memory draw other numbers than sample by sample"


def _has_random_transforms(preset: Preset) -> bool:
    """Whether training samples are transformed with random numbers; user transforms may draw some."""
    return any(transform.name not in DETERMINISTIC_TRANSFORMS for transform in preset.data.transforms.train)


def _plain(preset: Preset) -> dict[str, Any]:
    """Fill in early stopping's defaults where it is off: they still choose the best checkpoint."""
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
