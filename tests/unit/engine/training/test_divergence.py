"""Processes whose parameters differ are named."""

from __future__ import annotations

import pytest
import torch

from torchconsole.engine.training.divergence import Checksums, checksums, which_differ


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1, 2], "process 0 on a and process 1 on b have different parameters"),
        ([1, 1, 2], "process 2 on c has other parameters than the other processes"),
        ([3, 1, 1], "process 0 on a has other parameters than the other processes"),
        ([1, 1, 1, 2, 2], "process 3 on d and process 4 on e have other parameters than the other processes"),
        (
            [1, 2, 3],
            "process 0 on a and process 1 on b and process 2 on c have different parameters",
        ),
    ],
)
def test_which_processes_differ(values: list[int], text: str) -> None:
    assert which_differ([Checksums("abcde"[rank], (7, value)) for rank, value in enumerate(values)]) == text


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.uint8]
)
def test_a_single_bit_changes_the_sum_of_its_tensor_only(dtype: torch.dtype) -> None:
    first, second = torch.ones(3, 5, dtype=dtype), torch.ones(4, dtype=dtype)
    before = checksums([first, second])
    first[2, 4] = 1 + torch.finfo(dtype).eps if dtype.is_floating_point else 2
    after = checksums([first, second])
    assert (before != after).tolist() == [True, False]


def test_the_layout_in_memory_does_not_matter() -> None:
    images = torch.randn(2, 3, 4, 5)
    other = images.to(memory_format=torch.channels_last)
    assert checksums([images]).equal(checksums([other]))
    assert checksums([torch.tensor(1.5), torch.empty(0)]).shape == (2,)
