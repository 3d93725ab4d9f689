"""Whether several processes still have the same parameters, by checksums that are compared now and then."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torchconsole.engine.errors import JobError
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.setup import TrainingSetup

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Types to read the bits of parameters as, by the bytes of an element."""


class Checksums(NamedTuple):
    """What a process has at a step: where it is, and a number for each parameter."""

    host: str
    values: tuple[int, ...]


class DivergenceCheck:
    """Compares the parameters of all processes at a logged line, every `distributed.checksum_every` steps.

    Their checksums are computed on the device, and read at the next logged line, where the host has waited
    for the device anyway. Parameters of a sharded model differ, so only `strategy = "ddp"` is checked.
    """

    def __init__(self, setup: TrainingSetup, progress: Progress) -> None:
        config = setup.preset.distributed
        is_checked = config.strategy == "ddp" and not setup.ranks.is_alone
        self._every = config.checksum_every if is_checked else 0
        self._setup = setup
        self._progress = progress
        self.restart()

    def restart(self) -> None:
        """Compare at the next line: the training begins, or was rolled back to an earlier step."""
        self._begun_at = 0
        self._equal_at: int | None = None
        self._waiting: Tensor | None = None

    def check(self) -> None:
        """Compare what was computed at the last line, and compute anew if that is due. For all processes.

        Raises JobError, which names the processes that differ.
        """
        if not self._every:
            return
        if self._waiting is not None:
            values, self._waiting = self._waiting.tolist(), None
            self._compare(self._setup.ranks.gather(Checksums(socket.gethostname(), tuple(values))))
        if self._progress.step // self._every > self._begun_at // self._every:
            self._begun_at = self._progress.step
            self._waiting = checksums(list(self._setup.model.parameters()))

    def _compare(self, found: Sequence[Checksums]) -> None:
        if len({each.values for each in found}) > 1:
            raise JobError(self._describe(found))
        self._equal_at = self._begun_at

    def _describe(self, found: Sequence[Checksums]) -> str:
        names = [name for name, _ in self._setup.model.named_parameters()]
        columns = zip(*(each.values for each in found), strict=True)
        tensor = next(name for name, values in zip(names, columns, strict=True) if len(set(values)) > 1)
        before = "" if self._equal_at is None else f"; they were equal after step {self._equal_at:,}"
        return (
            f"{which_differ(found)} after step {self._begun_at:,}, such as {tensor}{before}. User code that "
            "changes parameters in one process, or a faulty device, may be the cause; resume from a "
            "checkpoint before that"
        )


def checksums(tensors: Sequence[Tensor]) -> Tensor:
    """Return the sum of the bits of each tensor, read as whole numbers: int64, on the first one's device.

    Sums of whole numbers do not depend on their order, so they are equal on devices of different kinds.
    """
    with torch.no_grad():
        sums = [_bits(tensor).sum(dtype=torch.int64) for tensor in tensors]
        return torch.stack([each.to(sums[0].device) for each in sums])


def _bits(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.view(INTEGERS[tensor.element_size()])


def which_differ(found: Sequence[Checksums]) -> str:
    """Say which processes have other values than most, or all of them if there is no majority."""
    (common, count), *_ = Counter(each.values for each in found).most_common()
    has_majority = 2 * count > len(found)
    named = [
        f"process {rank} on {each.host}"
        for rank, each in enumerate(found)
        if not (has_majority and each.values == common)
    ]
    text = " and ".join(named)
    if not has_majority:
        return f"{text} have different parameters"
    return f"{text} {'has' if len(named) == 1 else 'have'} other parameters than the other processes"
