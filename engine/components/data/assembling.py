"""Decides how each part becomes batches, from tensors in memory or sample by sample, and makes them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from torchconsole.engine.components.data.batched_transforms import BatchedTransform, batched
from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, Splits
from torchconsole.engine.components.data.in_memory import (
    budget,
    bytes_in_memory,
    can_be_kept,
    check_fits,
    keep,
)
from torchconsole.engine.components.data.loader import (
    BatchFetcher,
    LoaderEvalBatches,
    LoaderOptions,
    LoaderTrainBatches,
    SizesDifferError,
)
from torchconsole.engine.components.data.loader_worker import shared_memory_warning
from torchconsole.engine.components.data.measuring import find_moments
from torchconsole.engine.components.data.normalizing import Normalizer
from torchconsole.engine.components.data.order import TrainOrder, preserved_randomness, seed_sample
from torchconsole.engine.components.data.tensor_batches import Placing, TensorEvalBatches, TensorTrainBatches
from torchconsole.engine.components.data.transforms import Transforms
from torchconsole.engine.components.data.types import EvalBatches, TrainBatches
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import mebibytes

log = logging.getLogger(__name__)

EVAL_BATCH_FACTOR = 8
"""Evaluation keeps no activations for a backward pass, so its batches may be this much larger."""


@dataclass(frozen=True)
class Batches:
    """All parts, ready for training."""

    train: TrainBatches
    val: EvalBatches
    test: EvalBatches | None
    input_shape: tuple[int, ...]
    in_memory: bool | Literal["auto"]
    notes: list[str]


class Assembler:
    """Makes batches of samples, for one preset on one device."""

    def __init__(
        self, config: DataConfig, seed: int, device: torch.device, transforms: Transforms, report: ReportPhase
    ) -> None:
        self._config = config
        self._seed = seed
        self._device = device
        self._transforms = transforms
        self._report = report
        self._in_memory = config.in_memory
        self._notes: list[str] = []

    def assemble(self, parts: Splits, classes: Tensor | None) -> Batches:
        """Batches of all parts; `classes` (N,) of the training samples are drawn equally often if given.

        Raises DataError for samples that cannot be read or do not fit together or into memory,
        ComponentError for transforms that do not fit the data.
        """
        fetchers = {
            name: BatchFetcher(
                samples, self._transforms.train if name == "training" else self._transforms.val
            )
            for name, samples in parts.by_name.items()
        }
        examples = {name: example_of(fetcher) for name, fetcher in fetchers.items()}
        example = examples["training"]
        _check_content(examples)
        _check_alike(examples)
        transform = self._batched(parts.train)
        kept = self._keep(fetchers, examples, transform)
        if "training" not in kept:
            transform = None
        seen = kept.get("training") if transform is None else None
        # What is seen through validation's transforms is measured from files, where it is remembered.
        raw = transform is not None and self._transforms.val is None
        measured = replace(parts, train=kept["training"]) if raw else parts
        moments, notes = find_moments(
            self._config, self._seed, measured, seen, example, self._transforms.val, self._report
        )
        self._warn_of_shared_memory(kept, examples)
        normalizer = Normalizer(tuple(example.shape), moments, self._device)
        order = TrainOrder(
            self._seed, len(parts.train), self._config.batch_size, self._config.drop_last, classes
        )
        home = self._home(kept)
        if "training" in kept:
            self._notes.append(_said_of(kept["training"], home))
        maker = _Maker(self._config, self._seed, self._device, home, normalizer, transform)
        return Batches(
            train=maker.train(fetchers["training"], kept.get("training"), order),
            val=maker.evaluation(fetchers["validation"], kept.get("validation")),
            test=maker.evaluation(fetchers["test"], kept.get("test")) if "test" in fetchers else None,
            input_shape=tuple(example.shape),
            in_memory=self._in_memory,
            notes=[*self._notes, *notes],
        )

    def _batched(self, samples: BaseDataset) -> BatchedTransform | None:
        """The form of the training part's random transforms for whole batches, where they have one."""
        transform = self._transforms.train
        if transform is None or not transform.random or samples.input(0).ndim != 3:
            return None
        if self._in_memory is False or not can_be_kept(samples, None):
            return None
        found = batched(transform)
        if isinstance(found, BatchedTransform):
            return found
        has = "has" if len(found) == 1 else "have"
        self._note_loader(f"{' and '.join(found)} {has} no form for whole batches")
        return None

    def _note_loader(self, reason: str) -> None:
        """Say why no batches of the training part are cut from memory."""
        workers = self._config.num_workers
        by = f"{workers} loader process{'es' * (workers > 1)}" if workers else "the training process itself"
        more = "" if workers else "; data.num_workers = 2 would have two processes make them beside it"
        self._notes.append(f"{reason}, so training samples are made one by one by {by}{more}")

    def _keep(
        self,
        fetchers: dict[str, BatchFetcher],
        examples: dict[str, Tensor],
        transform: BatchedTransform | None,
    ) -> dict[str, InMemoryDataset]:
        """The parts that are good for every epoch once read, if they are small enough together.

        With a `transform` for whole batches, the training part is kept as it is before it.
        """
        if self._in_memory is False:
            return {}
        if transform is not None:
            raw = fetchers["training"].dataset
            fetchers = {**fetchers, "training": BatchFetcher(raw, None)}
            examples = {**examples, "training": raw.input(0)}
        fixed = {name: f for name, f in fetchers.items() if can_be_kept(f.dataset, f.transform)}
        sizes = {name: bytes_in_memory(f.dataset, examples[name]) for name, f in fixed.items()}
        if self._in_memory is True:
            check_fits(sum(sizes[name] for name, f in fixed.items() if not _is_there(f)))
        if self._in_memory == "auto" and "training" in fixed:
            total, allowed = sum(sizes.values()), budget(torch.device("cpu"))
            self._in_memory = total <= allowed
            if not self._in_memory and not _is_there(fixed["training"]):
                self._note_loader(
                    f"{mebibytes(total)} of samples are more than memory should hold "
                    f"({mebibytes(allowed)}, half of what is free)"
                )
        loading = LoaderOptions(
            torch.device("cpu"),
            self._config.num_workers,
            pin_memory=False,
            timeout=self._config.loader_timeout,
        )
        kept = {}
        for name, fetcher in fixed.items():
            if self._in_memory is False and not _is_there(fetcher):
                continue
            try:
                kept[name] = keep(fetcher, examples[name], loading, name, self._report)
            except SizesDifferError:
                if transform is None or name != "training":
                    raise
                self._note_loader("images differ in size before they are transformed")
        return kept

    def _warn_of_shared_memory(self, kept: dict[str, InMemoryDataset], examples: dict[str, Tensor]) -> None:
        """Loader processes hand over whole batches: those of evaluation are the largest."""
        sizes = {"training": self._config.batch_size}
        batches = [
            example.nbytes * sizes.get(name, _eval_batch_size(self._config))
            for name, example in examples.items()
            if name not in kept
        ]
        if warning := shared_memory_warning(max(batches, default=0), self._config.num_workers):
            log.warning("data: %s", warning)

    def _home(self, kept: dict[str, InMemoryDataset]) -> torch.device:
        """Where tensors are kept: on the device unless they are too large for it."""
        total = sum(samples.inputs.nbytes for samples in kept.values())
        return self._device if total <= budget(self._device) else torch.device("cpu")


def _said_of(kept: InMemoryDataset, home: torch.device) -> str:
    size = mebibytes(kept.inputs.nbytes)
    return f"training samples: {size} in memory on {home}, cut in whole batches (data.in_memory)"


@dataclass(frozen=True)
class _Maker:
    """Makes the batches of one part, from tensors where it is kept and else sample by sample."""

    config: DataConfig
    seed: int
    device: torch.device
    home: torch.device
    normalizer: Normalizer
    transform: BatchedTransform | None

    def train(self, fetcher: BatchFetcher, kept: InMemoryDataset | None, order: TrainOrder) -> TrainBatches:
        """Of the training part."""
        if kept is None:
            return LoaderTrainBatches(fetcher, order, self._loading(), self.normalizer)
        samples, placing = self._place(kept, once=self.transform is None)
        return TensorTrainBatches(samples, order, placing, self.transform)

    def evaluation(self, fetcher: BatchFetcher, kept: InMemoryDataset | None) -> EvalBatches:
        """Of the validation or test part."""
        size = _eval_batch_size(self.config)
        if kept is None:
            return LoaderEvalBatches(fetcher, size, self.seed, self._loading(), self.normalizer)
        samples, placing = self._place(kept)
        return TensorEvalBatches(samples, size, placing)

    def _loading(self) -> LoaderOptions:
        pin = self.device.type == "cuda" if self.config.pin_memory is None else self.config.pin_memory
        return LoaderOptions(self.device, self.config.num_workers, pin, self.config.loader_timeout)

    def _place(self, kept: InMemoryDataset, once: bool = True) -> tuple[InMemoryDataset, Placing]:
        """Bytes are normalised batch by batch, which keeps them small; floats `once` and for all."""
        inputs = kept.inputs.to(self.home)
        if inputs.dtype == torch.uint8 or self.home != self.device or not once:
            return InMemoryDataset(inputs, kept.targets), Placing(self.home, self.device, self.normalizer)
        done = InMemoryDataset(self.normalizer(inputs), kept.targets)
        return done, Placing(self.home, self.device, lambda batch: batch)


def _is_there(fetcher: BatchFetcher) -> bool:
    """Whether the samples are in memory already, as they are to be kept."""
    return isinstance(fetcher.dataset, InMemoryDataset) and fetcher.transform is None


def _eval_batch_size(config: DataConfig) -> int:
    return config.eval_batch_size or EVAL_BATCH_FACTOR * config.batch_size


def example_of(fetcher: BatchFetcher) -> Tensor:
    """The first input, transformed; the process's random numbers stay as they are."""
    raw = fetcher.dataset.input(0)
    if fetcher.transform is not None and fetcher.transform.images_only and raw.ndim != 3:
        raise ComponentError(
            f"{fetcher.transform.where}: these are for images; an input is {tuple(raw.shape)}"
        )
    with preserved_randomness():
        seed_sample(0)
        return fetcher.input(0)


def _check_content(examples: dict[str, Tensor]) -> None:
    for name, example in examples.items():
        if example.numel() == 0:
            transforms = "data.transforms.train" if name == "training" else "data.transforms.val"
            raise DataError(
                f"data: nothing is left of an input of the {name} part, its shape is {tuple(example.shape)}; "
                f"check {transforms}"
            )


def _check_alike(examples: dict[str, Tensor]) -> None:
    """Every part must suit the model that the training part does; images may be larger in evaluation."""
    first = examples["training"]
    for name, example in examples.items():
        own, other = tuple(example.shape), tuple(first.shape)
        alike = own[:1] == other[:1] if first.ndim == example.ndim == 3 else own == other
        if not alike or (example.dtype == torch.int64) != (first.dtype == torch.int64):
            raise DataError(
                f"data: an input of the training part is {other} {first.dtype}, one of the {name} part {own} "
                f"{example.dtype}; check data.transforms.train and .val".replace("torch.", "")
            )
