"""Parts of a batch: several processes together read what one process would, and transform it the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.support.sessions import ignore_phase
from torchconsole.engine.components.data import DataModule, load_data
from torchconsole.engine.components.data.order import TrainOrder
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.config.schema import TrainingConfig
from torchconsole.engine.errors import DataError

CROPS = [{"name": "RandomCrop", "size": 8, "padding": 1}, {"name": "RandomErasing", "value": "random"}]
CPU = torch.device("cpu")


class Part(Ranks):
    """One of several processes, which computes nothing with the others."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def data_of(rank: int, size: int, batch_size: int, **settings: object) -> DataModule:
    content = {"name": "digits", "batch_size": batch_size, "num_workers": 0, **settings}
    config = DataConfig.model_validate(content)
    return load_data(config, TrainingConfig(), CPU, ignore_phase, UserCode(), ranks=Part(rank, size))


def order_of(rank: int, count: int = 10, *, drop_last: bool = False) -> TrainOrder:
    return TrainOrder(1, count, 2, drop_last, rank=rank, processes=3)


def positions(order: TrainOrder, batch: int) -> list[int]:
    part = order.part(batch)
    return list(range(part.position, part.position + part.samples))


def test_each_sample_of_an_epoch_is_in_the_part_of_one_process() -> None:
    orders = [order_of(rank) for rank in range(3)]
    assert [order.batches_per_epoch for order in orders] == [2, 2, 2]
    assert [positions(order, 0) for order in orders] == [[0, 1], [2, 3], [4, 5]]
    # The third process has no sample of the second batch: it repeats those of the first one.
    assert [positions(order, 1) for order in orders] == [[6, 7], [8, 9], [6, 7]]


def test_batches_that_are_not_full_are_dropped_for_all() -> None:
    assert [order_of(rank, 11, drop_last=True).batches_per_epoch for rank in range(3)] == [1, 1, 1]
    assert order_of(0, 11, drop_last=True).samples_per_epoch == 6


def joined(parts: list[Iterator[tuple[Tensor, Tensor]]]) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in zip(*parts, strict=True):
        inputs, targets = zip(*batch, strict=True)
        yield torch.cat(inputs), torch.cat(targets)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("transforms", [[], CROPS], ids=["plain", "random"])
def test_the_parts_of_a_batch_are_the_batch_of_one_process(
    in_memory: bool, transforms: list[dict[str, object]]
) -> None:
    settings = {"in_memory": in_memory, "transforms": {"train": transforms}}
    whole = data_of(0, 1, 48, **settings).train
    parts = [data_of(rank, 3, 16, **settings).train for rank in range(3)]
    for epoch, start in ((0, 0), (1, 7)):
        together = joined([part.epoch(epoch, start) for part in parts])
        for count, (found, expected) in enumerate(zip(together, whole.epoch(epoch, start), strict=True)):
            own = len(expected[1])  # in the last batch, a process may repeat samples
            assert torch.equal(found[0][:own], expected[0]), count
            assert torch.equal(found[1][:own], expected[1]), count


@pytest.mark.parametrize("in_memory", [True, False])
def test_each_sample_is_validated_by_one_process(in_memory: bool) -> None:
    whole = data_of(0, 1, 8, in_memory=in_memory)
    parts = [data_of(rank, 3, 8, in_memory=in_memory) for rank in range(3)]
    found = torch.cat([targets for part in parts for _, targets in part.val])
    assert torch.equal(found, torch.cat([targets for _, targets in whole.val]))
    assert [part.first_validated for part in parts] == [0, parts[0].val.samples, 2 * parts[0].val.samples]


def test_a_process_without_a_validation_sample_is_refused() -> None:
    with pytest.raises(DataError, match="validation set has only 360 samples, fewer than the 500 processes"):
        data_of(0, 500, 1)


@pytest.mark.parametrize(
    ("samples", "size", "expected"),
    [
        (362, 120, [1, 0, 0]),  # 120, 121 and 121 samples
        (362, 121, [0, 0, 0]),
        (361, 40, [1, 1, 0]),  # 120, 120 and 121 samples
        (9, 1, [0, 0, 0]),
    ],
)
def test_idle_passes_make_up_for_batches_that_others_have_more(
    samples: int, size: int, expected: list[int]
) -> None:
    parts = [data_of(rank, 3, 16, val_split=samples, eval_batch_size=size) for rank in range(3)]
    assert [part.idle_passes for part in parts] == expected
    assert len({part.idle_passes + len(list(part.val)) for part in parts}) == 1
