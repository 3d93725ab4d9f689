"""Which keys of a run's preset a resume may change."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.resume_policy import POLICY, change, differences
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
def test_what_may_change(override: str) -> None:
    changed = change(PRESET, [override])
    assert changed == load_preset("digits-mlp", [override])
    assert changed != PRESET


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("model.hidden=[3]", "model.hidden cannot change on a resume: the saved weights belong to it"),
        ("data.batch_size=3", "data.batch_size cannot change on a resume: the run would not continue with"),
        ("training.seed=1", "training.seed cannot change on a resume: the split, the order and the random"),
        ("loss.label_smoothing=0.1", "loss.label_smoothing cannot change on a resume: the losses"),
        ("optimizer.name=SGD", "optimizer.name cannot change on a resume: it is saved with the optimizer"),
        ("optimizer.lr=0.1", "torchconsole send RUN lr VALUE"),
        ("schedule=[]", "schedule cannot change on a resume: the position in the schedule"),
        ("early_stopping.monitor=val/accuracy", "the best checkpoint so far was chosen by it"),
    ],
)
def test_what_may_not_change_and_why(override: str, why: str) -> None:
    with pytest.raises(PresetError) as caught:
        change(PRESET, [override])
    assert why in str(caught.value)
    assert "train PRESET --from RUN" in str(caught.value)


def test_every_refusal_is_told_at_once_and_nothing_else() -> None:
    with pytest.raises(PresetError) as caught:
        change(PRESET, ["training.seed=1", "training.epochs=9", "model.dropout=0.5"])
    keys = [line.partition(" ")[0] for line in str(caught.value).splitlines()[:-1]]
    assert keys == ["model.dropout", "training.seed"]


def test_a_value_that_stays_as_it_is_may_be_given() -> None:
    assert change(PRESET, ["training.seed=42"]) == PRESET


def test_a_wrong_value_is_told_as_everywhere() -> None:
    with pytest.raises(PresetError, match=r"^--set training.epochs=many: training.epochs: "):
        change(PRESET, ["training.epochs=many"])


def test_differences_are_told_key_by_key() -> None:
    after = load_preset("digits-mlp", ["training.epochs=9", "data.root=elsewhere"])
    assert differences(PRESET, after) == {"data.root": (None, "elsewhere"), "training.epochs": (60, 9)}


def test_in_memory_stays_where_random_transforms_draw_differently() -> None:
    augmented = load_preset("digits-cnn", ['data.transforms.train=[{name="RandomHorizontalFlip"}]'])
    with pytest.raises(PresetError, match=r"data.in_memory cannot change on a resume: random transforms"):
        change(augmented, ["data.in_memory=false"])
    fixed = load_preset("digits-cnn", ['data.transforms.train=[{name="Resize", size=8}]'])
    assert change(fixed, ["data.in_memory=false"]).data.in_memory is False


def schema_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a section and of the sections in it; a list counts as one key."""
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
    """A new key fails here until somebody has decided when it may change."""
    assert [key for key in schema_keys(Preset) if key not in POLICY] == []


def test_the_policy_names_only_keys_and_sections_that_exist() -> None:
    keys = set(schema_keys(Preset))
    sections = {key.rpartition(".")[0] for key in keys}
    assert POLICY.keys() <= keys | sections


def test_a_key_is_refused_with_a_reason_and_allowed_without() -> None:
    assert all((rule.when == "never") == bool(rule.reason) for rule in POLICY.values())
