"""Pickle files of torchvision's datasets are read without running what they contain."""

from __future__ import annotations

import ast
import codecs
import io
import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.data_files import load, write_cifar10
from torchconsole.engine.components.data.sources.plain_pickles import load_plain
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.errors import DataError

READERS = ("pickle.load", "pickle.loads", "torch.load", "np.load", "pd.read_pickle")


class Evil:
    """Makes the folder `evil` when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


PLAIN = [
    {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, 2], "filenames": ["a", "b"]},
    [b"key", b"\xff\x00"],
    {"scalar": np.float32(1.5), "nested": ({1, 2}, None, True, 2.5, "text")},
]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN, ids=["cifar", "lsun", "scalars"])
def test_plain_data_is_read(value: Any, protocol: int) -> None:
    found = load_plain(io.BytesIO(pickle.dumps(value, protocol=protocol)))
    assert repr(found) == repr(value)


def test_pickles_of_python_2_are_read() -> None:
    """As the published files of CIFAR10 are."""
    content = (
        b"\x80\x02}q\x01U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04"
        b"K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02\x85cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x07\xfetbs."
    )
    assert load_plain(io.BytesIO(content), encoding="latin1")["data"].tolist() == [7, 254]


@pytest.mark.parametrize(
    "value", [Evil(), [Evil()], {"data": np.array([Evil()], dtype=object)}, os.system, codecs.decode, print]
)
def test_a_pickle_that_would_run_something_is_refused(
    value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "data_batch_1"
    file.write_bytes(pickle.dumps(value))
    message = "data_batch_1 is not read, .*it would run"
    with file.open("rb") as opened, pytest.raises(DataError, match=message):
        load_plain(opened)
    assert not Path("evil").exists()


def test_cifar10_is_not_unpickled_with_anything_else_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if its checksum was right, as of a file that is exchanged after it was compared."""
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path, monkeypatch)
    cifar = import_torchvision("datasets.cifar")
    monkeypatch.setattr(cifar, "check_integrity", lambda path, md5: True)
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    batch.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match="data_batch_2 is not read, because it may run code"):
        load("CIFAR10", root=str(tmp_path))
    assert not Path("evil").exists()
    assert cifar.pickle is pickle


class FakeEnvironment:
    """An LMDB database with two images."""

    def __init__(self) -> None:
        file = io.BytesIO()
        Image.new("RGB", (8, 8), "red").save(file, "PNG")
        self.images = {b"one": file.getvalue(), b"two": file.getvalue()}

    def begin(self, **_: Any) -> FakeEnvironment:
        return self

    def __enter__(self) -> FakeEnvironment:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def stat(self) -> dict[str, int]:
        return {"entries": len(self.images)}

    def cursor(self) -> FakeEnvironment:
        return self

    def iternext(self, **_: bool) -> list[bytes]:
        return list(self.images)

    def get(self, key: bytes) -> bytes:
        return self.images[key]


def test_the_cache_of_lsun_is_read_as_plain_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is a file in the working folder, which may have come with a project from elsewhere."""
    fake: Any = SimpleNamespace(open=lambda *arguments, **options: FakeEnvironment())
    monkeypatch.setitem(sys.modules, "lmdb", fake)
    monkeypatch.chdir(tmp_path)
    config = {"root": "data", "classes": ["bedroom_train", "tower_train"], "normalize": "none"}
    for _ in range(2):  # the second time from the cache
        load("LSUN", **config)
    caches = sorted(tmp_path.glob("_cache_*"))
    assert len(caches) == 2
    caches[0].write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match=f"{caches[0].name} is not read, because it may run code"):
        load("LSUN", **config)
    assert not Path("evil").exists()


def test_no_other_dataset_of_torchvision_unpickles() -> None:
    """Whoever unpickles uses `pickle.load`, and everything else says that it reads plain data."""
    folder = Path(import_torchvision("datasets").__file__ or "").parent
    calls = [
        (file.name, ast.unparse(node))
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in READERS
    ]
    assert {file for file, call in calls if call.startswith("pickle.load(")} == {"cifar.py", "lsun.py"}
    others = [call for _, call in calls if not call.startswith("pickle.load(")]
    assert all("weights_only=True" in call or call.startswith("np.load(") for call in others)
    assert not any("allow_pickle" in call for call in others)
