"""Fuzzy search: what is found, and what comes first."""

from __future__ import annotations

import pytest

from torchconsole.tui.fuzzy import ranked

KEYS = {
    "data.target_transform.name": "class name",
    "data.target": "column to predict",
    "optimizer.lr": "learning rate before the schedule",
    "optimizer.momentum": "argument of SGD",
    "training.epochs": "passes over the training data",
    "training.clip_norm": "maximum norm of all gradients together",
}


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("lr", "optimizer.lr"),
        ("target", "data.target"),
        ("Data.Target", "data.target"),
        ("epo", "training.epochs"),
        ("momentun", "optimizer.momentum"),
        ("optimiser.lr", "optimizer.lr"),
        ("gradients", "training.clip_norm"),
        ("norm clip", "training.clip_norm"),
        ("learning rate", "optimizer.lr"),
        ("trep", "training.epochs"),
    ],
)
def test_the_best_match_is_first(typed: str, first: str) -> None:
    assert ranked(typed, KEYS)[0] == first


def test_nothing_typed_lists_all_in_order_and_nonsense_nothing() -> None:
    assert ranked("  ", KEYS) == list(KEYS)
    assert ranked("zzzz", KEYS) == []
