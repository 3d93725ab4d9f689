"""Texts with their targets, and how they become rows of tokens once the training set is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, InMemoryDataset, Places, Splits
from torchconsole.engine.components.data.texts.tokenizing import (
    PADDING,
    TextOptions,
    Tokenizer,
    make_tokenizer,
)
from torchconsole.engine.components.data.types import TextRecord


@dataclass(frozen=True)
class TextDataset(BaseDataset):
    """Texts that are not tokenized yet."""

    texts: Sequence[str]
    targets: Tensor
    options: TextOptions
    locate: Callable[[int], str]
    """Returns where text `n` of the source comes from: a file, or a line of one."""
    indices: Tensor | None = None
    """Indices of these texts in the source, (N,) int64; all of them if None."""
    paths: Sequence[str] | None = None
    """The file of each of the source's texts, if each has one."""

    def read(self, index: int) -> tuple[Tensor, int]:
        raise NotImplementedError("texts are read as tokens; see `tokenize`")

    def subset(self, indices: Tensor) -> TextDataset:
        texts = [self.texts[number] for number in indices.tolist()]
        source_indices = indices if self.indices is None else self.indices[indices]
        return replace(self, texts=texts, targets=self.targets[indices], indices=source_indices)

    def with_targets(self, targets: Tensor) -> TextDataset:
        return replace(self, targets=targets)

    def describe(self, index: int) -> str:
        return self.places(index)

    @property
    def places(self) -> Places:
        return Places(self.locate, self.indices)


def tokenize(splits: Splits) -> Splits:
    """Return the splits with texts as tokens (N, T) int64, padded at the end; other data stays as it is.

    The vocabulary is that of the training set, unless a run has recorded one. T is the length of the longest
    training text, at most `max_length`; longer texts of other sets are cut too. Raises what `make_tokenizer`
    raises.
    """
    train = splits.train
    if not isinstance(train, TextDataset):
        return splits
    options = train.options
    tokenizer = make_tokenizer(options, train.texts)
    encoded = {
        name: tokenizer.encode(dataset.texts)
        for name, dataset in splits.by_name.items()
        if isinstance(dataset, TextDataset)
    }
    longest = max(map(len, encoded["training"]))
    length = (
        options.max_length if options.vocabulary is not None else max(1, min(longest, options.max_length))
    )
    sets = {
        name: InMemoryDataset(
            pad(encoded[name], length), dataset.targets, locate=dataset.locate, indices=dataset.indices
        )
        for name, dataset in splits.by_name.items()
        if isinstance(dataset, TextDataset)
    }
    return replace(
        splits.with_sets(sets),
        texts=TextRecord(tokenizer.size, tokenizer.record, length),
        notes=[*splits.notes, *_notes(tokenizer, encoded, length)],
    )


def pad(rows: Sequence[Sequence[int]], length: int) -> Tensor:
    """Return the first `length` tokens of each text, (N, length) int64, padded at the end."""
    padded = torch.full((len(rows), length), PADDING, dtype=torch.int64)
    for padded_row, row in zip(padded, rows, strict=True):
        padded_row[: len(row)] = torch.tensor(row[:length], dtype=torch.int64)
    return padded


def _notes(tokenizer: Tokenizer, encoded: dict[str, list[list[int]]], length: int) -> list[str]:
    notes = [f"texts are rows of {length:,} tokens; the vocabulary has {tokenizer.describe()}"]
    rows = [row for name in encoded for row in encoded[name]]
    if cut := sum(len(row) > length for row in rows):
        notes.append(f"{cut:,} of {len(rows):,} texts are cut off at {length:,} tokens (data.max_length)")
    if empty := sum(not row for row in rows):
        notes.append(f"{empty:,} of {len(rows):,} texts have no tokens")
    held_out = [number for row in encoded.get("validation", []) for number in row]
    if tokenizer.unknown is not None and (unknown := held_out.count(tokenizer.unknown)):
        share = unknown / len(held_out)
        notes.append(f"{share:.1%} of the tokens of the validation texts are not in the vocabulary")
    return notes
