"""The sample of a regression's predictions that an evaluation reports."""

from __future__ import annotations

import itertools

import pytest
import torch

from torchconsole.engine.components.regression_sample import MOST_SAMPLES, MOST_TARGETS, SampleKeeper
from torchconsole.engine.protocol.info import RegressionSample


def sampled(samples: int, batch: int, targets: int = 1) -> RegressionSample:
    """Return the sample of values 0, 1, 2 ... that are each predicted 10 too large."""
    keeper = SampleKeeper()
    true = torch.arange(samples, dtype=torch.float64)[:, None].expand(samples, targets)
    for rows in true.split(batch):
        keeper.update((rows + 10).squeeze(1) if targets == 1 else rows + 10, rows)
    found = keeper.result()
    assert found is not None
    return found


@pytest.mark.parametrize("samples", [1, 5, MOST_SAMPLES, MOST_SAMPLES + 1, 5000, 40_003])
@pytest.mark.parametrize("batch", [1, 7, 64, 100_000])
def test_samples_are_evenly_spaced_whatever_the_batches_are(samples: int, batch: int) -> None:
    if samples > 10 * batch * MOST_SAMPLES:
        pytest.skip("slow")
    found = sampled(samples, batch)
    true = found.shown[0].true
    assert found.samples == samples
    assert min(samples, MOST_SAMPLES // 2) <= len(true) <= MOST_SAMPLES
    assert len({after - before for before, after in itertools.pairwise(true)}) <= 1
    assert found.shown[0].predicted == [value + 10 for value in true]
    assert samples - true[-1] <= samples / len(true) + 1


def test_only_the_first_targets_are_reported() -> None:
    found = sampled(10, 4, targets=6)
    assert (found.targets, len(found.shown)) == (6, MOST_TARGETS)


def test_predictions_that_are_not_finite_are_counted() -> None:
    keeper = SampleKeeper()
    keeper.update(torch.tensor([1.0, float("nan"), float("inf")]), torch.tensor([1.0, 2.0, 3.0]))
    found = keeper.result()
    assert found is not None
    assert (found.nonfinite, found.shown[0].true) == (2, [1.0])


def test_without_batches_there_is_no_sample() -> None:
    assert SampleKeeper().result() is None
