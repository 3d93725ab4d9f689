"""Which keys of a run's preset a resume may change."""

from __future__ import annotations

from typing import Any

import pytest

from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.resume_policy import POLICY, change, differences
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
        ("data.batch_size=3", "data.batch_size cannot change on a resume: the next sample would not be"),
        ("training.seed=1", "training.seed cannot change on a resume: split, order and random numbers"),
        ("loss.label_smoothing=0.1", "loss.label_smoothing cannot change on a resume: the losses"),
        ("optimizer.name=SGD", "optimizer.name cannot change on a resume: it is saved with the optimizer"),
        ("optimizer.lr=0.1", "torchconsole send RUN lr VALUE"),
        ("schedule=[]", "schedule cannot change on a resume: the place in the schedule"),
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


def test_the_policy_speaks_of_keys_that_there_are() -> None:
    preset = load_preset("digits-mlp", ["ema.decay=0.99"])
    for key in filter(None, POLICY):
        content: Any = preset.model_dump()
        for part in key.split("."):
            assert part in content, key
            content = content[part]
