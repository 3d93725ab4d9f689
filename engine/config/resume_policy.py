"""When each key of a run's preset may change: in the live run, on a resume, or never, with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torchconsole.engine.config.catalogue import DETERMINISTIC_TRANSFORMS, Catalogue
from torchconsole.engine.config.loading import set_key, validate
from torchconsole.engine.config.schema import EarlyStoppingConfig, Preset
from torchconsole.engine.config.user_code import locate_code
from torchconsole.engine.errors import PresetError

When = Literal["now", "next epoch", "on resume", "never"]


@dataclass(frozen=True)
class Rule:
    """When a key may change. "now" and "next epoch" include a resume."""

    when: When
    reason: str = ""
    """Why the key may never change; empty otherwise."""


NOW, NEXT_EPOCH, ON_RESUME = Rule("now"), Rule("next epoch"), Rule("on resume")

_SAMPLES = Rule("never", "the run could not continue with the next sample")
_INPUTS = Rule("never", "the model was trained on inputs that are prepared with it")
_OUTPUTS = Rule("never", "the model's outputs and the loss depend on it")
_MODEL = Rule("never", "the weights in the checkpoint belong to it")
_INITIAL_WEIGHTS = Rule("never", "a resume continues with the weights in the checkpoint")
_TRAINED = Rule("never", "the optimizer's state belongs to the parameters that are trained")
_LOSS = Rule("never", "losses before and after the change could not be compared")
_OPTIMIZER = Rule("never", "a resume continues with the optimizer's state in the checkpoint")
_BEST = Rule("never", "it determined the best checkpoint so far")

POLICY: dict[str, Rule] = {
    "title": NOW,
    "description": NOW,
    "needs": NOW,
    "group": NOW,
    "code_folders": ON_RESUME,
    "data": _SAMPLES,
    "data.name": _SAMPLES,
    "data.root": ON_RESUME,
    "data.download": ON_RESUME,
    "data.task": _OUTPUTS,
    "data.batch_size": _SAMPLES,
    "data.eval_batch_size": ON_RESUME,
    "data.val_split": _SAMPLES,
    "data.test_split": _SAMPLES,
    "data.stratify": _SAMPLES,
    "data.normalize": _INPUTS,
    "data.scale_target": _OUTPUTS,
    "data.transforms.train": _INPUTS,
    "data.transforms.val": Rule("never", "evaluations before and after the change could not be compared"),
    "data.transforms.batch": _INPUTS,
    "data.target_transform": _OUTPUTS,
    "data.target_transform.name": _OUTPUTS,
    "data.sampler": _SAMPLES,
    "data.drop_last": _SAMPLES,
    "data.in_memory": ON_RESUME,
    "data.num_workers": NEXT_EPOCH,
    "data.on_corrupt": ON_RESUME,
    "data.max_corrupt": ON_RESUME,
    "data.loader_timeout": NEXT_EPOCH,
    "data.pin_memory": NEXT_EPOCH,
    "data.limit": _SAMPLES,
    "data.overfit_batches": _SAMPLES,
    "model": _MODEL,
    "model.name": _MODEL,
    "model.layers": _MODEL,
    "model.replace": _MODEL,
    "model.weights": _INITIAL_WEIGHTS,
    "model.strict": _INITIAL_WEIGHTS,
    "model.rename": _INITIAL_WEIGHTS,
    "model.freeze": _TRAINED,
    "model.unfreeze_at_epoch": _TRAINED,
    "model.init": _INITIAL_WEIGHTS,
    "model.device_map": ON_RESUME,
    "loss": _LOSS,
    "loss.name": _LOSS,
    "loss.weight": _LOSS,
    "loss.outputs": _LOSS,
    "loss.factor": _LOSS,
    "loss.also": _LOSS,
    "loss.l1": _LOSS,
    "loss.l1_parameters": _LOSS,
    "loss.l2": _LOSS,
    "loss.l2_parameters": _LOSS,
    "optimizer": _OPTIMIZER,
    "optimizer.name": _OPTIMIZER,
    "optimizer.lr": Rule(
        "never",
        "the schedule is based on it; for a live run use torchconsole send RUN lr VALUE",
    ),
    "optimizer.decay_norm_and_bias": _OPTIMIZER,
    "optimizer.groups": _OPTIMIZER,
    "schedule": Rule("never", "a resume continues with the schedule's state in the checkpoint"),
    "metrics": ON_RESUME,
    "early_stopping.monitor": _BEST,
    "early_stopping.mode": _BEST,
    "early_stopping.patience": NOW,
    "early_stopping.min_delta": NOW,
    "early_stopping.restore_best": NOW,
    "ema": ON_RESUME,
    "ema.decay": ON_RESUME,
    "evaluation.worst": NOW,
    "checkpoint.keep": NOW,
    "checkpoint.save_every_minutes": NOW,
    "checkpoint.save_every_steps": NOW,
    "tracking.csv": ON_RESUME,
    "tracking.tensorboard": ON_RESUME,
    "tracking.wandb": ON_RESUME,
    "tracking.mlflow": ON_RESUME,
    "training.epochs": ON_RESUME,
    "training.max_steps": ON_RESUME,
    "training.max_minutes": NOW,
    "training.seed": Rule("never", "the split, the order of samples and all random numbers depend on it"),
    "training.deterministic": ON_RESUME,
    "training.device": ON_RESUME,
    "training.precision": ON_RESUME,
    "training.compile": ON_RESUME,
    "training.channels_last": ON_RESUME,
    "training.threads": ON_RESUME,
    "training.grad_accum_steps": Rule("never", "a step would train on another number of samples"),
    "training.clip_norm": NOW,
    "training.clip_norm_type": NOW,
    "training.clip_value": NOW,
    "training.nonfinite": ON_RESUME,
    "training.eval_every": NOW,
    "training.eval_interval": NOW,
    "training.log_every": NOW,
    "distributed.processes": ON_RESUME,
    "distributed.strategy": ON_RESUME,
    "distributed.cpu_offload": ON_RESUME,
    "distributed.sync_batchnorm": ON_RESUME,
    "distributed.lr_scaling": Rule("never", "a resume continues with the lr in the checkpoint"),
    "distributed.timeout": ON_RESUME,
    "distributed.checksum_every": ON_RESUME,
    "distributed.max_restarts": ON_RESUME,
}
"""Key -> its rule. The rule of a section holds for the arguments of the component that it names."""

Changes = dict[str, tuple[Any, Any]]
"""Key -> its value before and after; None if it is not set."""


def change_preset(preset: Preset, overrides: Sequence[str], catalogue: Catalogue | None = None) -> Preset:
    """Apply `key=value` overrides to a run's preset for a resume.

    Raises PresetError with a line for each error and for each key that may not change.
    """
    content = preset.model_dump(mode="json", exclude_none=True)
    for override in overrides:
        set_key(content, override, catalogue)
    changed = validate(locate_code(content), "preset.toml", catalogue, overrides)
    if refused := dict(_refusals(preset, changed)):
        sections = tuple(f"{key}." for key in refused)
        lines = [
            f"{key} cannot be changed on a resume: {reason}"
            for key, reason in refused.items()
            if not key.startswith(sections)
        ]
        alternative = "to start a new run with this run's weights: torchconsole train PRESET --from RUN"
        raise PresetError(*lines, alternative)
    return changed


def differences(before: Preset, after: Preset) -> Changes:
    """Return the dotted keys whose values differ."""
    old, new = dict(_leaves(_plain(before))), dict(_leaves(_plain(after)))
    keys = dict.fromkeys([*old, *new])
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def rule_for(key: str) -> Rule:
    """Return the rule of a key; an argument of a component has the rule of the nearest section around it."""
    while key not in POLICY:
        key = key.rpartition(".")[0]
    return POLICY[key]


def _refusals(before: Preset, after: Preset) -> Iterator[tuple[str, str]]:
    for key in differences(before, after):
        rule = rule_for(key)
        if rule.when == "never":
            yield key, rule.reason
        elif key == "data.in_memory" and _has_random_transforms(before):
            yield key, "random transforms draw other numbers for batches in memory than for single samples"


def _has_random_transforms(preset: Preset) -> bool:
    """Return whether training samples are transformed at random; transforms in user code may be random."""
    return any(transform.name not in DETERMINISTIC_TRANSFORMS for transform in preset.data.transforms.train)


def _plain(preset: Preset) -> dict[str, Any]:
    """Return plain content in which early stopping tells how the best checkpoint is chosen.

    Without early stopping the best checkpoint has the lowest val/loss. With it, a start fills in the mode, so
    that for val/loss an open mode is the same as "min".
    """
    content = preset.model_dump(mode="json")
    if preset.early_stopping is None:
        content["early_stopping"] = EarlyStoppingConfig().model_dump(mode="json") | {"patience": None}
    stopping = content["early_stopping"]
    if stopping["monitor"] == "val/loss" and stopping["mode"] is None:
        stopping["mode"] = "min"
    return content


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not key):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else name)
    else:
        yield key, value
