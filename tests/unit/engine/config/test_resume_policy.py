"""Which keys of a run's preset may be changed on a resume."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.resume_policy import POLICY, change_preset, differences
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import PresetError

PRESET = load_preset("digits-mlp")


@pytest.mark.parametrize(
    "override",
    [
        "training.epochs=200",
        "training.log_every=5",
        "training.threads=2",
        "training.device=cuda",
        "early_stopping.patience=30",
        "early_stopping=",
        "checkpoint.keep=5",
        "checkpoint.save_every_minutes=10",
        "data.num_workers=2",
        "data.loader_timeout=77.5",
        "data.on_corrupt=skip",
        "data.max_corrupt=7",
        "data.in_memory=false",
        'metrics=[{name="Recall"}]',
        "title=Another",
    ],
)
def test_allowed_changes_are_applied(override: str) -> None:
    changed = change_preset(PRESET, [override])
    assert changed == load_preset("digits-mlp", [override])
    assert changed != PRESET


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        (
            "model.hidden=[3]",
            "model.hidden cannot be changed on a resume: the weights in",
        ),
        ("data.batch_size=3", "data.batch_size cannot be changed on a resume: the run could not continue"),
        ("training.seed=1", "training.seed cannot be changed on a resume: the split, the order"),
        ("loss.label_smoothing=0.1", "loss.label_smoothing cannot be changed on a resume: losses"),
        ("optimizer.name=SGD", "optimizer.name cannot be changed on a resume: a resume continues"),
        ("optimizer.lr=0.1", "torchconsole send RUN lr VALUE"),
        ("schedule=[]", "schedule cannot be changed on a resume: a resume continues"),
        ("early_stopping.monitor=val/accuracy", "it determined the best checkpoint so far"),
    ],
)
def test_other_changes_are_refused_with_the_reason(override: str, reason: str) -> None:
    with pytest.raises(PresetError) as caught:
        change_preset(PRESET, [override])
    assert reason in str(caught.value)
    assert "train PRESET --from RUN" in str(caught.value)


def test_all_refused_keys_are_listed_at_once() -> None:
    with pytest.raises(PresetError) as caught:
        change_preset(PRESET, ["training.seed=1", "training.epochs=9", "model.dropout=0.5"])
    keys = [line.partition(" ")[0] for line in str(caught.value).splitlines()[:-1]]
    assert keys == ["model.dropout", "training.seed"]


def test_a_section_that_cannot_be_replaced_is_one_line() -> None:
    started = load_preset("digits-mlp", ["data.normalize={mean=[0.3], std=[0.5]}"])
    with pytest.raises(PresetError) as caught:
        change_preset(started, ["data.normalize=none"])
    [line, _] = str(caught.value).splitlines()
    assert line.startswith("data.normalize cannot be changed on a resume")


def test_an_override_with_the_present_value_is_accepted() -> None:
    assert change_preset(PRESET, ["training.seed=42"]) == PRESET


def test_an_invalid_value_is_reported() -> None:
    with pytest.raises(PresetError, match=r"^--set training.epochs=many: training.epochs: "):
        change_preset(PRESET, ["training.epochs=many"])


def test_differences_are_listed_by_key() -> None:
    after = load_preset("digits-mlp", ["training.epochs=9", "data.root=elsewhere"])
    assert differences(PRESET, after) == {"data.root": (None, "elsewhere"), "training.epochs": (60, 9)}


def test_in_memory_cannot_change_with_random_transforms() -> None:
    augmented = load_preset("digits-cnn", ['data.transforms.train=[{name="RandomHorizontalFlip"}]'])
    with pytest.raises(PresetError, match=r"data.in_memory cannot be changed on a resume: random transforms"):
        change_preset(augmented, ["data.in_memory=false"])
    fixed = load_preset("digits-cnn", ['data.transforms.train=[{name="Resize", size=8}]'])
    assert change_preset(fixed, ["data.in_memory=false"]).data.in_memory is False


def test_early_stopping_can_be_switched_off_after_the_start_has_filled_in_its_mode() -> None:
    started = load_preset("digits-mlp", ["early_stopping.mode=min"])
    assert change_preset(started, ["early_stopping="]).early_stopping is None
    stops_by_accuracy = load_preset(
        "digits-mlp", ["early_stopping.mode=max", "early_stopping.monitor=val/accuracy"]
    )
    with pytest.raises(PresetError, match=r"early_stopping\.monitor cannot be changed on a resume"):
        change_preset(stops_by_accuracy, ["early_stopping="])


def test_early_stopping_can_be_added_on_the_metric_that_chose_the_best_checkpoint() -> None:
    without = load_preset("digits-mlp", ["early_stopping="])
    added = change_preset(without, ["early_stopping.patience=5", "early_stopping.mode=min"]).early_stopping
    assert added is not None
    assert (added.monitor, added.patience) == ("val/loss", 5)
    with pytest.raises(PresetError, match=r"early_stopping\.mode cannot be changed on a resume"):
        change_preset(without, ["early_stopping.mode=max"])


def schema_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a section and of the sections in it; a list counts as one key."""
    for name, field in model.model_fields.items():
        is_union = get_origin(field.annotation) in (Union, UnionType)
        kinds = [
            k for k in (get_args(field.annotation) if is_union else (field.annotation,)) if k is not NoneType
        ]
        if all(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds):
            for kind in kinds:
                yield from schema_keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_key_of_the_schema_has_a_rule_of_its_own() -> None:
    """A new key fails here until it has a rule."""
    assert [key for key in schema_keys(Preset) if key not in POLICY] == []


def test_the_policy_names_only_keys_and_sections_that_exist() -> None:
    keys = set(schema_keys(Preset))
    sections = {key.rpartition(".")[0] for key in keys}
    assert POLICY.keys() <= keys | sections


def test_a_rule_has_a_reason_exactly_if_the_key_may_never_change() -> None:
    assert all((rule.when == "never") == bool(rule.reason) for rule in POLICY.values())
