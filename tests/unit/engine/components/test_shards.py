"""The sharded part of a checkpoint, written by a group of one process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from torchconsole.engine.components import shards
from torchconsole.engine.components.shards import (
    State,
    fill,
    is_sharded,
    largest_gradient,
    local,
    take_shards,
    whole,
)
from torchconsole.engine.errors import CheckpointError


class Touch:
    """Pickled code: it makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._path,)


@pytest.fixture
def sharded(tmp_path: Path) -> Iterator[DTensor]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        yield distribute_tensor(torch.arange(6.0).reshape(3, 2), mesh, [Shard(0)])
    finally:
        dist.destroy_process_group()


def written(tensor: DTensor, folder: Path) -> State:
    """Write what is sharded, and return the rest."""
    state = {
        "model": {"0.weight": tensor, "count": torch.tensor(3)},
        "optimizer": {"state": {0: {"step": torch.tensor(1.0), "exp_avg": tensor * 2}}},
        "progress": {"step": 7},
    }
    plain, shards = take_shards(state)
    save(shards, storage_writer=FileSystemWriter(str(folder)))
    return plain


def test_a_state_is_whole_again(sharded: DTensor, tmp_path: Path) -> None:
    plain = written(sharded, tmp_path)
    assert list(plain["model"]) == ["0.weight", "count"]
    assert plain["model"]["0.weight"] is None
    torch.save(plain, tmp_path / "state.pt")
    plain = torch.load(tmp_path / "state.pt", weights_only=True)
    fill(plain, tmp_path)
    assert torch.equal(plain["model"]["0.weight"], torch.arange(6.0).reshape(3, 2))
    assert torch.equal(plain["optimizer"]["state"][0]["exp_avg"], 2 * torch.arange(6.0).reshape(3, 2))
    assert plain["progress"] == {"step": 7}


def test_each_process_reads_its_own_part(sharded: DTensor, tmp_path: Path) -> None:
    plain = written(sharded, tmp_path)
    fill(plain, tmp_path, lambda keys: keys[0] == "model", like={"model": {"0.weight": sharded}})
    assert is_sharded(plain["model"]["0.weight"])
    assert torch.equal(local(plain["model"]["0.weight"]), local(sharded))
    assert torch.equal(whole(plain["model"]["0.weight"]), whole(sharded))
    assert plain["optimizer"]["state"][0]["exp_avg"] is None


def test_a_state_without_shards_stays_as_it_is(tmp_path: Path) -> None:
    state = {"model": {"weight": torch.ones(2)}}
    fill(state, tmp_path)
    assert list(state) == ["model"]
    assert local(state["model"]["weight"]) is whole(state["model"]["weight"])


def test_code_in_the_list_of_shards_is_not_run(sharded: DTensor, tmp_path: Path) -> None:
    plain = written(sharded, tmp_path)
    (tmp_path / ".metadata").write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
    with pytest.raises(CheckpointError, match="its shards are damaged: their list has pathlib"):
        fill(plain, tmp_path)
    assert not (tmp_path / "touched").exists()


def test_shards_elsewhere_are_not_read(sharded: DTensor, tmp_path: Path) -> None:
    plain = written(sharded, tmp_path)
    content = (tmp_path / ".metadata").read_bytes()
    (tmp_path / ".metadata").write_bytes(content.replace(b"__0_0.distcp", b"/etc/passwd1"))
    with pytest.raises(CheckpointError, match="they are said to be in '/etc/passwd1'"):
        fill(plain, tmp_path)


def test_a_lack_of_memory_is_no_damage(
    sharded: DTensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    plain = written(sharded, tmp_path)
    monkeypatch.setattr(shards, "_load", refuse)
    with pytest.raises(CheckpointError, match="its shards cannot be read: CUDA out of memory"):
        fill(plain, tmp_path)


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_a_missing_file_is_named(sharded: DTensor, tmp_path: Path, name: str) -> None:
    plain = written(sharded, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        fill(plain, tmp_path)


def test_a_list_that_claims_too_much_is_refused(sharded: DTensor, tmp_path: Path) -> None:
    plain = written(sharded, tmp_path)
    with (tmp_path / "__0_0.distcp").open("r+b") as file:
        file.truncate(0)
    (tmp_path / ".metadata").rename(tmp_path / "list")
    (tmp_path / ".metadata").write_bytes((tmp_path / "list").read_bytes())
    with pytest.raises(CheckpointError, match="its shards are damaged"):
        fill(plain, tmp_path)


@pytest.mark.parametrize("hidden", [lambda part: [part], lambda part: ({"old": part}, 1)])
def test_sharded_tensors_in_a_list_are_refused(sharded: DTensor, hidden: Callable[[DTensor], Any]) -> None:
    state = {"optimizer": {"state": {0: {"history": hidden(sharded)}}}}
    with pytest.raises(ValueError, match=r"optimizer\.state\.0\.history: sharded tensors in a list"):
        take_shards(state)


def test_the_format_of_an_optimizer_state_is_kept(sharded: DTensor, tmp_path: Path) -> None:
    plain, shards = take_shards({"momentum": sharded.bfloat16()})
    save(shards, storage_writer=FileSystemWriter(str(tmp_path)))
    fill(plain, tmp_path, like={"momentum": sharded})
    assert plain["momentum"].dtype == torch.bfloat16


@pytest.mark.parametrize("values", [[-3.0, 2.0], []])
def test_the_largest_gradient_where_a_process_has_no_part_of_one(
    sharded: DTensor, values: list[float]
) -> None:
    mesh = sharded.device_mesh
    gradients = [distribute_tensor(torch.tensor(each), mesh, [Shard(0)]) for each in (values, [])]
    assert largest_gradient([*gradients]) == max(map(abs, values), default=0.0)
