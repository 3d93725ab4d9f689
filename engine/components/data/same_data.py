"""Compares data with what a run has recorded about it, and gives its classes the labels of that time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from torchconsole.engine.components.data.data_record import DataRecord, SetRecord
from torchconsole.engine.components.data.datasets import (
    BaseDataset,
    InMemoryDataset,
    MapStyleDataset,
    Splits,
)
from torchconsole.engine.components.data.tables.dataset import TableDataset
from torchconsole.engine.components.data.texts.dataset import TextDataset
from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import counted, did_you_mean, printable

MOST_BYTES = 64 << 20
"""Bytes of the inputs of a set that are compared, evenly spread over the samples if there are more."""

MOST_SIZES = 10_000
"""Number of files of a set whose sizes are compared: a second or two on a slow network."""

MOST_CONTENTS, FILE_BYTES = 32, 2**20
"""Number of files of a set whose contents are compared, and how many bytes of each."""

MOST_VALUES = 8_000_000
"""Inputs of a set with more values than this are only compared in their order."""

MIXER = -4658895280553007687
"""An odd number that spreads the bits of a hash (the finalizer of SplitMix64, as a signed number)."""

MAX_NAMES = 5
"""Number of classes that a message names."""


def match_classes(splits: Splits, record: DataRecord) -> Splits:
    """Return the splits with labels that mean the classes of the record, by their names.

    Raises DataError for names that the record does not have, and for those that are missing.
    """
    names, known = splits.class_names, record.classes
    if not record.named_classes:
        return splits if names else replace(splits, class_names=known)
    if names == known:
        return splits
    new = [name for name in names if name not in known]
    missing = [name for name in known if name not in names]
    if new or missing:
        problems = []
        if new:
            advice = did_you_mean(new[0], missing)
            similar = advice if len(new) == 1 and advice.startswith(",") else ""
            problems.append(f"it was not trained on {_list(new)}{similar}")
        if missing:
            problems.append(f"{_list(missing)} {'is' if len(missing) == 1 else 'are'} missing")
        raise DataError(
            f"data: the classes are not those of the run: {'; '.join(problems)}. Name them as they were when "
            "the run started, or start a new run with torchconsole train"
        )
    sets = {
        name: dataset.with_targets(_relabel(dataset.targets, names, known))
        for name, dataset in splits.by_name.items()
    }
    return replace(splits.with_sets(sets), class_names=known)


def check_kind(record: DataRecord, spec: DataSpec) -> None:
    """Raise DataError if the inputs or the kind of target are not those that the model was trained on.

    Images may have another size, as they may in evaluation.
    """
    if spec.task != record.task:
        raise DataError(
            f"data: the targets are for {spec.task} now, but were for {record.task} when the run started; "
            "restore the data, or start a new run with torchconsole train"
        )
    shape, expected = list(spec.input_shape), record.input_shape
    if shape != expected and not (len(shape) == len(expected) == 3 and shape[0] == expected[0]):
        raise DataError(
            f"data: an input has the shape {tuple(shape)} now, but had {tuple(expected)} when the run "
            "started; restore the data, or start a new run with torchconsole train"
        )


def describe_sets(splits: Splits, *, user_code: bool) -> dict[str, SetRecord]:
    """Describe the sets that a source has, so that a change can be told."""
    return {name: _describe(dataset, user_code=user_code) for name, dataset in splits.by_name.items()}


def check_resumable(record: DataRecord, found: DataRecord) -> list[str]:
    """Return notes on what has changed. Raises DataError if the samples to train or validate on have."""
    used = {name for name in record.sets if name != "test" or "validation" not in record.sets}
    if changes := [text for name, text in _changes(record, found).items() if name in used]:
        raise DataError(
            f"data: the samples have changed since the run started: {'; '.join(changes)}. A resume could not "
            "continue with the next sample: restore them, or start a new run with this run's weights: "
            "torchconsole train PRESET --from RUN"
        )
    return _content_changes(record, found)


def check_comparable(record: DataRecord, found: DataRecord) -> list[str]:
    """Return notes on what has changed, for an evaluation.

    Raises DataError if the split depends on it: samples to validate on could have been trained on.
    """
    changes = _changes(record, found)
    is_drawn = record.sets.keys() == {"training"}
    if changes and (is_drawn or found.sets.keys() != record.sets.keys()):
        raise DataError(
            f"data: the samples have changed since the run started: {'; '.join(changes.values())}. They "
            "would be split anew, and the run was trained on some of those to evaluate it on: restore them, "
            "or start a new run with torchconsole train"
        )
    return [*changes.values(), *_content_changes(record, found)]


def _changes(record: DataRecord, found: DataRecord) -> dict[str, str]:
    """Return what is different about which samples there are, by set."""
    changes = {}
    for name in dict.fromkeys([*record.sets, *found.sets]):
        before, now = record.sets.get(name), found.sets.get(name)
        if before is None or now is None:
            changes[name] = f"there is {'a' if now else 'no'} {name} set now"
        elif before.samples != now.samples:
            title = _title(name, record)
            changes[name] = (
                f"the {title} has {counted(now.samples, 'sample')} now, and had {before.samples:,}"
            )
        elif before.identity != now.identity or (
            before.unordered and before.unordered == now.unordered and before.content != now.content
        ):
            changes[name] = f"the {_title(name, record)} has other targets or files, or in another order"
    return changes


def _content_changes(record: DataRecord, found: DataRecord) -> list[str]:
    return [
        f"the contents of the {_title(name, record)} have changed since the run started"
        for name, before in record.sets.items()
        if (now := found.sets.get(name)) and before.samples == now.samples and before.content != now.content
    ]


def _title(name: str, record: DataRecord) -> str:
    return "dataset" if len(record.sets) == 1 else f"{name} set"


def _describe(dataset: BaseDataset, *, user_code: bool) -> SetRecord:
    identity, content = hashlib.sha256(), hashlib.sha256()
    targets = dataset.targets.detach()
    # A transform such as log1p may differ in the last bit between two machines.
    _add(content if user_code else identity, targets.float() if targets.is_floating_point() else targets)
    paths = dataset.paths if isinstance(dataset, MapStyleDataset | TextDataset) else None
    if paths is not None:
        for path in paths:
            identity.update(
                os.fsencode(path.rpartition(os.sep)[2]) + b"\0"
            )  # Path takes seconds for a million
        if isinstance(dataset, MapStyleDataset):
            _add_files(content, paths)
    if isinstance(dataset, InMemoryDataset):
        _add(content, dataset.inputs)
    if isinstance(dataset, TableDataset):
        for codes in dataset.codes:
            _add(content, codes)
    if isinstance(dataset, TextDataset):
        for text in dataset.texts:
            content.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return SetRecord(
        samples=len(dataset),
        identity="" if user_code else identity.hexdigest(),
        content=content.hexdigest(),
        unordered="" if user_code else _describe_unordered(dataset),
    )


def _describe_unordered(dataset: BaseDataset) -> str:
    """Return a digest of the samples in any order; empty for those that are not in memory, or are large."""
    if isinstance(dataset, TextDataset):
        encoded = (text.encode("utf-8", "surrogatepass") for text in dataset.texts)
        return f"{sum(int.from_bytes(hashlib.sha256(text).digest()[:8]) for text in encoded):x}"
    if not isinstance(dataset, InMemoryDataset) or dataset.inputs.numel() > MOST_VALUES:
        return ""
    codes = dataset.codes if isinstance(dataset, TableDataset) else ()
    columns = [dataset.targets.detach(), dataset.inputs.detach(), *codes]
    rows = [column.reshape(len(dataset), -1).double().view(torch.int64) for column in columns]
    rows_of = torch.cat(rows, dim=1)
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(2**62, (rows_of.shape[1],), generator=generator) * 2 + 1
    sums = (rows_of * factors).sum(1)  # modulo 2^64, as all of this
    mixed = (sums ^ (sums >> 29)) * MIXER
    return f"{int((mixed ^ (mixed >> 32)).sum()) & (2**64 - 1):x}"


def _add(digest: hashlib._Hash, values: Tensor) -> None:
    """Add values (N, ...), or some of the rows if they take more than MOST_BYTES."""
    step = max(1, -(-values.nbytes // MOST_BYTES))
    digest.update(values[::step].contiguous().flatten().view(torch.uint8).numpy().data)


def _add_files(digest: hashlib._Hash, paths: Sequence[str]) -> None:
    """Add the sizes of files, and the contents of some, evenly spread over all of them.

    A changed file that is compressed has another size. A copy has the same, whenever it was made.
    """
    for path in _spread(paths, MOST_SIZES):
        with suppress(OSError):  # reported when the sample is read
            digest.update(b"%d," % os.stat(path).st_size)  # noqa: PTH116 - Path takes longer
    for path in _spread(paths, MOST_CONTENTS):
        if os.path.isfile(path):  # noqa: PTH113 - a FIFO would be waited for
            with suppress(OSError), open(path, "rb") as file:  # noqa: PTH123
                digest.update(file.read(FILE_BYTES))


def _spread(paths: Sequence[str], most: int) -> Sequence[str]:
    return paths[:: max(1, -(-len(paths) // most))]


def _relabel(targets: Tensor, names: Sequence[str], known: Sequence[str]) -> Tensor:
    """Return labels (N,) of `names` as labels of `known`, or columns (N, K) in that order."""
    if targets.ndim == 2 and targets.shape[1] == len(names):
        return targets[:, [names.index(name) for name in known]]
    return torch.tensor([known.index(name) for name in names])[targets.long()].to(targets.dtype)


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(f"{printable(name)!r}" for name in names[:MAX_NAMES]) + more
