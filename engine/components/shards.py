"""The sharded part of a checkpoint: tensors that several processes hold together, in torch's DCP format.

state.pt has everything else. There, each of these tensors is None, and the entry `shards` tells where it
belongs: its name among the shards, and the keys that lead to its place in the state.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.files import read_regular
from torchconsole.engine.run.names import SHARDS_FILE, is_shard_file
from torchconsole.engine.text import first_line

if TYPE_CHECKING:
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.metadata import Metadata

SHARDS = "shards"

State = dict[str, Any]
Keys = tuple[str | int, ...]
Places = dict[str, list[str | int]]
"""Where shards belong, by their names: the keys that lead there."""

Wanted = Callable[[list[str | int]], bool]
"""Tells of a place whether its shards are read."""


def is_sharded(value: object) -> bool:
    """Whether this is a tensor of which each process holds a part (a DTensor)."""
    return isinstance(value, Tensor) and hasattr(value, "to_local")


def local(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor; all of one that is not sharded."""
    return cast("Any", tensor).to_local() if is_sharded(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor. If it is sharded, all processes must call this."""
    return cast("Any", tensor).full_tensor() if is_sharded(tensor) else tensor


def largest_gradient(gradients: list[Tensor]) -> Tensor:
    """Return the infinity norm () of sharded gradients. All processes must call this.

    Torch has none for those of which a process has no element.
    """
    from torch.distributed.tensor import DTensor, Shard

    parts = [local(gradient) for gradient in gradients]
    filled = [part for part in parts if part.numel()]
    own = get_total_norm(filled, math.inf) if filled else parts[0].new_zeros(())
    mesh = cast("DTensor", gradients[0]).device_mesh
    return whole(DTensor.from_local(own.reshape(1), mesh, [Shard(0)])).amax()


def everything(keys: list[str | int]) -> bool:
    """Want the shards of all places."""
    return True


def nothing(keys: list[str | int]) -> bool:
    """Want no shards."""
    return False


def take_shards(state: State) -> tuple[State, dict[str, Tensor]]:
    """Split a state: what state.pt gets, and the sharded tensors by their names.

    Raises ValueError for sharded tensors in a list, which have no place to be read back to.
    """
    shards: dict[str, Tensor] = {}
    places: Places = {}

    def rest(value: Any, keys: Keys) -> Any:
        if is_sharded(value):
            name = ".".join(map(str, keys))
            shards[name], places[name] = value, list(keys)
            return None
        if isinstance(value, dict):
            return {key: rest(item, (*keys, key)) for key, item in value.items()}
        if _has_shards(value):
            raise ValueError(f"{'.'.join(map(str, keys))}: sharded tensors in a list cannot be saved")
        return value

    plain: State = rest(state, ())
    return plain | {SHARDS: places}, shards


def _has_shards(value: object) -> bool:
    """Whether there is a sharded tensor in a list or tuple."""
    if isinstance(value, dict):
        return any(map(_has_shards, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_has_shards, value))
    return is_sharded(value)


def item_at(state: Any, keys: list[str | int]) -> Any:
    """Return what the keys lead to. Raises KeyError."""
    for key in keys:
        state = state[key]
    return state


def fill(
    state: State,
    folder: Path,
    is_wanted: Wanted = everything,
    like: State | None = None,
    device: str | None = None,
) -> None:
    """Put the shards of a checkpoint into the state that was read from its state.pt.

    The tensors are whole and on the CPU; with `like`, a state of the same training, they are sharded as that
    one's are, so that each process reads its own part, and on the `device`, by default on that of `like`.
    Only the places that `is_wanted` get theirs. Raises CheckpointError.
    """
    places: Places = state.get(SHARDS) or {}
    wanted = {name: keys for name, keys in places.items() if is_wanted(keys)}
    if not wanted:
        return
    try:
        metadata = read_metadata(folder)
        if like is None:
            targets = _empty(metadata, wanted, folder)
        else:
            found = cast("Any", metadata.state_dict_metadata)
            targets = {
                name: torch.empty_like(item_at(like, keys), dtype=found[name].properties.dtype, device=device)
                for name, keys in wanted.items()
            }
        _load(targets, _reader(folder, metadata))
        for name, keys in wanted.items():
            item_at(state, keys[:-1])[keys[-1]] = targets[name]
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read: {error.strerror or error}") from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise CheckpointError(f"{folder}: its shards cannot be read: {first_line(error)}") from error
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, TypeError, AttributeError,
            AssertionError, IndexError, EOFError) as error:  # fmt: skip
        raise CheckpointError(f"{folder}: its shards are damaged: {first_line(error)}") from error


def _load(targets: dict[str, Tensor], reader: FileSystemReader) -> None:
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_loader import load

    try:
        with warnings.catch_warnings(action="ignore"):  # that there is no process group
            load(cast("Any", targets), storage_reader=reader, no_dist=True)
    except CheckpointException as error:  # no Exception
        reasons = [first_line(failure) for failure, _ in error.failures.values()]
        raise ValueError(reasons[0]) from error


def _empty(metadata: Metadata, wanted: Mapping[str, object], folder: Path) -> dict[str, Tensor]:
    """Make tensors to read into. Raises ValueError if they claim more elements than the files have bytes."""
    found = {name: cast("Any", metadata.state_dict_metadata[name]) for name in wanted}
    claimed = sum(each.size.numel() * each.properties.dtype.itemsize for each in found.values())
    if claimed > sum(path.stat().st_size for path in folder.iterdir() if is_shard_file(path.name)):
        raise ValueError("they claim more elements than there are")
    return {name: torch.empty(each.size, dtype=each.properties.dtype) for name, each in found.items()}


def _reader(folder: Path, metadata: Metadata) -> FileSystemReader:
    """Return torch's reader; its own way to read the metadata would run any code in the file."""
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    class Reader(FileSystemReader):
        def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
            return metadata

    return Reader(str(folder))


def read_metadata(folder: Path) -> Metadata:
    """Read the list of a checkpoint's shards. Raises OSError and UnpicklingError."""
    metadata: Metadata = _PlainUnpickler(io.BytesIO(read_regular(folder / SHARDS_FILE))).load()
    for info in metadata.storage_data.values():
        if not is_shard_file(info.relative_path):
            raise pickle.UnpicklingError(f"they are said to be in {info.relative_path!r}")
    return metadata


_CLASSES = {
    "torch.distributed.checkpoint.metadata": re.compile(
        "Metadata|TensorStorageMetadata|ChunkStorageMetadata|TensorProperties|MetadataIndex|StorageMeta"
        "|_MEM_FORMAT_ENCODING"
    ),
    "torch.distributed.checkpoint.filesystem": re.compile("_StorageInfo"),
    "torch.serialization": re.compile("_get_layout"),
    "torch": re.compile("Size"),
}
"""What a list of shards consists of, besides number formats."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        if module.partition(".")[0] == "pathlib" and name == "PosixPath":
            return PurePosixPath
        if module in _CLASSES and _CLASSES[module].fullmatch(name):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"their list has {module}.{name}, which is not data")
