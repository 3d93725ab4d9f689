"""Batches are copied to a GPU while it computes: the values are right and the host does not wait."""

from __future__ import annotations

import pytest
import torch

from torchconsole.engine.components.data.loader import prefetch
from torchconsole.engine.errors import DataError

COUNT, SIZE = 64, (256, 3, 32, 32)
CYCLES = 20_000_000
"""GPU clock cycles of a kernel that keeps the GPU busy: about 10 milliseconds."""


def make_batches(pinned: bool = True) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Make distinct batches on the host."""
    batches = [
        (torch.full(SIZE, number, dtype=torch.uint8), torch.full((256,), number)) for number in range(COUNT)
    ]
    return [(x.pin_memory(), y.pin_memory()) for x, y in batches] if pinned else batches


@pytest.mark.parametrize("pinned", [True, False])
def test_every_batch_is_correct_while_the_gpu_is_busy(gpu: torch.device, pinned: bool) -> None:
    """Each batch is read late and freed at once, so a batch that is overwritten too early is detected."""
    seen = []
    for inputs, targets in prefetch(make_batches(pinned), gpu, lambda inputs: inputs.float().mul_(2)):
        torch.cuda._sleep(CYCLES // 20)
        seen.append(torch.stack([inputs.min(), inputs.max(), targets.float().mean()]))
        del inputs, targets
    found = torch.stack(seen).cpu()
    numbers = torch.arange(float(COUNT))
    assert torch.equal(found, torch.stack([2 * numbers, 2 * numbers, numbers], dim=1))


def test_the_host_does_not_wait_for_the_gpu(gpu: torch.device) -> None:
    batches = prefetch(make_batches(), gpu, lambda inputs: inputs.float())
    next(batches)
    torch.cuda.synchronize(gpu)
    torch.cuda._sleep(CYCLES)
    busy = torch.cuda.Event()
    busy.record()
    for _ in range(3):
        next(batches)
    assert not busy.query()


def test_a_batch_uses_statistics_that_are_still_being_computed(gpu: torch.device) -> None:
    for _ in range(5):
        torch.cuda._sleep(CYCLES)
        shift = torch.ones((), device=gpu)
        [(inputs, _)] = prefetch(make_batches()[:1], gpu, lambda inputs, shift=shift: inputs.float() + shift)  # type: ignore[misc]
        assert inputs.unique().tolist() == [1.0]


def test_an_error_is_raised_after_the_batches_before_it(gpu: torch.device) -> None:
    batches = prefetch([*make_batches()[:3], DataError("unreadable")], gpu, lambda inputs: inputs)
    assert [next(batches)[1][0].item() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="unreadable"):
        next(batches)


def test_an_abandoned_pass_does_not_affect_the_next_one(gpu: torch.device) -> None:
    for _ in range(3):
        next(iter(prefetch(make_batches(), gpu, lambda inputs: inputs.float())))
    again = [targets[0].item() for _, targets in prefetch(make_batches(), gpu, lambda inputs: inputs.float())]
    assert again == list(range(COUNT))


def test_repeated_passes_need_no_more_memory(gpu: torch.device) -> None:
    reserved = []
    for _ in range(40):
        for _ in prefetch(make_batches()[:4], gpu, lambda inputs: inputs.float()):
            pass
        torch.cuda.synchronize(gpu)
        reserved.append(torch.cuda.memory_reserved(gpu))
    assert reserved[-1] < 3 * reserved[2]
