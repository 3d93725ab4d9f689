"""Reports of the finders of a batch size and of a number of data loader workers."""

from __future__ import annotations

from typing import Literal

from torchconsole.engine.protocol.info import Facts
from torchconsole.engine.protocol.reports import LearningRateSearch

Limit = Literal["samples", "memory", "time"]
"""What keeps a search from larger batches: the number of training samples, memory, or the time of a step."""

ENOUGH = 0.9
"""Part of the best throughput that the knee has at least."""


class BatchSizeTrial(Facts):
    """A batch size that was tried: whether a whole step and an evaluation fit into memory.

    `step_seconds` is the time of an optimizer step, `samples_per_second` what it trains on in a second.
    `memory` is the peak in bytes: of what torch allocated on a GPU, else of the whole process.
    """

    batch_size: int
    fits: bool
    step_seconds: float | None = None
    samples_per_second: float | None = None
    memory: int | None = None


class BatchSizeSearch(Facts):
    """The batch sizes that were tried, in order, and what follows from them.

    `batch_size` is the preset's. `largest` is the largest that fits. `knee` is the smallest with at least
    ENOUGH of the best throughput, and `settings` has the overrides (key=value) that take it over. Sizes and
    times are those of one of the `processes` that the preset asks for, measured alone.
    """

    device: str
    precision: str
    batch_size: int
    grad_accum_steps: int
    processes: int = 1
    train_samples: int
    trials: list[BatchSizeTrial]
    largest: int
    limit: Limit
    knee: int
    settings: list[str]


class LoaderTrial(Facts):
    """A number of data loader workers that was tried, in samples per second.

    `loaded` is what the loader alone reaches, `trained` a training on what it loads.
    """

    num_workers: int
    loaded: float
    trained: float


class LoaderSearch(Facts):
    """The numbers of data loader workers that were tried, and what follows from them.

    `trials` is empty if all training samples are held in memory. `num_workers` is what a run of the preset
    uses. `computed` is what a training reaches on a batch that is loaded already (samples per second). `knee`
    is the smallest number with at least ENOUGH of the best `trained`; `bound` says whether loading ("data")
    or the training step ("computation") limits it there. `advice` says what keeps more workers from being
    tried, other than the cores. `settings` has the overrides (key=value) that take the knee over.
    """

    device: str
    precision: str
    batch_size: int
    num_workers: int
    cores: int
    processes: int = 1
    computed: float
    trials: list[LoaderTrial] = []
    knee: int = 0
    bound: Literal["data", "computation"] = "computation"
    advice: str = ""
    settings: list[str] = []


Search = LearningRateSearch | BatchSizeSearch | LoaderSearch
"""What a finder has found; its `settings` take the suggestion over, and are empty without one."""
