"""Splits: sizes, proportions, seeds, limits, and the messages about splits that leave no samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.support.data_files import all_of, load
from torchconsole.engine.components.data.splitting import stratified_order
from torchconsole.engine.errors import ComponentError, DataError


def counts(targets: torch.Tensor) -> list[int]:
    return targets.flatten().long().bincount().tolist()


@pytest.mark.parametrize(
    ("keys", "sizes"),
    [
        ({}, (1437, 360, None)),
        ({"val_split": 0.5}, (898, 899, None)),
        ({"val_split": 100}, (1697, 100, None)),
        ({"val_split": 0.1, "test_split": 0.1}, (1437, 180, 180)),
        ({"val_split": 97, "test_split": 0.5}, (801, 97, 899)),
    ],
)
def test_sets_have_the_sizes_that_fractions_and_counts_give(
    keys: dict[str, Any], sizes: tuple[int, int, int | None]
) -> None:
    data = load("digits", **keys)
    found = data.train.samples_per_epoch, data.val.samples, data.test.samples if data.test else None
    assert found == sizes


def test_splits_share_no_sample_and_keep_the_proportions() -> None:
    data = load("wine", val_split=0.25, test_split=0.25, normalize="none")
    assert data.test is not None
    parts = [all_of(part) for part in (data.train, data.val, data.test)]
    rows = [{tuple(row) for row in inputs.tolist()} for inputs, _ in parts]
    assert len(rows[0] | rows[1] | rows[2]) == 178
    assert sum(map(len, rows)) == 178
    # The dataset has 59, 71 and 48 wines of the three classes.
    for share, (_, targets) in zip((0.5, 0.25, 0.25), parts, strict=True):
        assert counts(targets) == pytest.approx([59 * share, 71 * share, 48 * share], abs=1)


def test_a_split_is_a_function_of_the_seed() -> None:
    first, same, other = (all_of(load("digits", seed=seed, normalize="none").val)[0] for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_every_section_of_the_order_has_the_classes_in_proportion() -> None:
    classes = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    order = stratified_order(classes, 100, seed=0)
    assert sorted(order.tolist()) == list(range(100))
    for start in range(0, 70, 10):
        assert counts(classes[order[start : start + 20]]) == pytest.approx([12, 6, 2], abs=1)
    assert not torch.equal(order, stratified_order(classes, 100, seed=1))


def test_a_class_with_one_sample_is_in_the_training_set() -> None:
    classes = torch.tensor([0] * 50 + [1] * 50 + [2])
    assert 2 in classes[stratified_order(classes, 101, seed=3)[90:]]


def test_without_stratification_the_split_is_a_plain_permutation() -> None:
    data = load("digits", stratify=False)
    assert data.train.samples_per_epoch == 1437
    assert data.class_counts is not None
    assert data.class_counts.tolist() != counts(all_of(load("digits").train)[1])


def test_limit_keeps_training_samples_of_all_classes() -> None:
    data = load("digits", limit=50)
    assert (data.train.samples_per_epoch, data.val.samples, data.spec.num_outputs) == (50, 360, 10)
    assert data.class_counts is not None
    assert data.class_counts.tolist() == pytest.approx([5] * 10, abs=1)
    assert load("digits", limit=5000).train.samples_per_epoch == 1437
    assert load("digits", limit=7).notes[:1] == ["3 of 10 classes have no training samples"]


def test_overfit_batches_trains_and_validates_on_the_same_samples() -> None:
    data = load("digits", overfit_batches=3, batch_size=8, test_split=0.1)
    assert (data.train.batches_per_epoch, data.val.samples, data.test) == (3, 24, None)
    trained, validated = all_of(data.train), all_of(data.val)
    assert sorted(trained[0].flatten(1).sum(1).tolist()) == sorted(validated[0].flatten(1).sum(1).tolist())
    assert data.notes[:1] == ["training and validation use the same 24 samples (data.overfit_batches)"]


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("iris", {"val_split": 150}, "data.val_split: 150 of 150 samples leave no training samples"),
        (
            "iris",
            {"val_split": 0.5, "test_split": 75},
            "data.val_split: 0.5 and data.test_split: 75 of 150 samples leave no training samples",
        ),
        ("iris", {"limit": 1}, "data: the training set has 1 sample; at least 2 are needed"),
        ("iris", {"drop_last": True, "batch_size": 200}, "data.drop_last: the training set has 120 samples"),
        ("diabetes", {"sampler": "balanced"}, "data.sampler: balanced needs one class per sample"),
    ],
)
def test_a_message_about_an_empty_split_is_one_line(name: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises((DataError, ComponentError)) as caught:
        load(name, **keys)
    assert message in str(caught.value)
