"""A dataset that keeps a file open is not read by several processes, which would get each other's bytes."""

from __future__ import annotations

import io
import logging
import os
import sqlite3
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.data_files import load_user_dataset
from torchconsole.engine.components.data import one_by_one, reading
from torchconsole.engine.components.data.loader import LoaderOptions
from torchconsole.engine.components.data.open_files import open_file_in

SEEKING = """
class Records(Dataset):
    def __init__(self, path={path!r}):
        self.path, self.file = path, None
        self.targets = [0, 1] * 20
    def __len__(self):
        return 40
    def __getitem__(self, i):
        if self.file is None:
            self.file = open(self.path, "rb")
        self.file.seek(4 * i)
        return torch.tensor(list(self.file.read(4))).float(), self.targets[i]
"""


class Holder:
    """Has one attribute."""

    def __init__(self, held: Any) -> None:
        self.held = held


@pytest.mark.parametrize("kind", ["file", "zip", "sqlite", "nested", "list", "mapping"])
def test_open_files_are_found(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"")
    with path.open("rb") as file, zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        held, name = {
            "file": (file, "held"),
            "zip": (archive, "held"),
            "sqlite": (sqlite3.connect(":memory:"), "held"),
            "nested": (Holder(Holder(file)), "held.held.held"),
            "list": ([None, file], "held.1"),
            "mapping": ({"a": Holder(file)}, "held.a.held"),
        }[kind]
        assert open_file_in(Holder(held)) == name


def test_what_processes_can_share_is_no_open_file(tmp_path: Path) -> None:
    closed = (tmp_path / "a.bin").open("wb")
    closed.close()
    itself = Holder(None)
    itself.held = itself
    numbers = np.memmap(tmp_path / "b.bin", dtype=np.uint8, mode="w+", shape=4)
    for held in (closed, io.BytesIO(b"a"), numbers, torch.zeros(3), str(tmp_path), itself, range(9), open):
        assert open_file_in(Holder(held)) is None


@pytest.mark.parametrize("kind", ["logger", "adapter", "handler", "stdout", "log", "text log", "pipe"])
def test_what_is_only_written_to_is_no_open_file(kind: str, tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "run.log")
    logger = logging.Logger("own")
    logger.addHandler(handler)
    read, write = os.pipe()
    with (tmp_path / "a").open("wb") as log, (tmp_path / "b").open("a") as text, os.fdopen(read) as pipe:
        held = {
            "logger": logger,
            "adapter": logging.LoggerAdapter(logger),
            "handler": handler,
            "stdout": sys.stdout,
            "log": log,
            "text log": text,
            "pipe": pipe,
        }[kind]
        assert open_file_in(Holder(held)) is None
    os.close(write)
    handler.close()


def test_auto_uses_no_workers_for_such_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "records.bin").write_bytes(bytes(range(160)))
    code = SEEKING.format(path=str(tmp_path / "records.bin"))
    data = load_user_dataset(tmp_path / "user.py", "Records", code, in_memory=False, normalize="none")
    monkeypatch.setattr(one_by_one, "usable_cores", lambda: 9)
    assert data.one_by_one is not None
    limit = data.one_by_one.most_workers
    assert limit.count == 0
    assert "source.file" in limit.advice
    assert "open it in __getitem__" in limit.advice


def test_such_a_dataset_is_measured_by_this_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ALONE", 1e-9)
    monkeypatch.setattr(reading, "WORTH_WORKERS", 0.0)
    monkeypatch.setattr(reading, "usable_cores", lambda: 3)
    started: list[int] = []
    make = reading.Loader

    def observe(source: Any, requests: Any, options: LoaderOptions) -> Any:
        started.append(options.num_workers)
        return make(source, requests, options)

    monkeypatch.setattr(reading, "Loader", observe)
    (tmp_path / "records.bin").write_bytes(bytes(range(160)))
    code = SEEKING.format(path=str(tmp_path / "records.bin"))
    data = load_user_dataset(tmp_path / "user.py", "Records", code)
    assert started[-1] == 0
    assert data.measured is not None
    rows = torch.cat([inputs for inputs, _ in data.train.epoch(0)])
    assert torch.allclose(rows.mean(0), torch.zeros(4), atol=1e-5)


@pytest.mark.parametrize(("workers", "warned"), [(0, False), (1, True)])
def test_workers_that_the_preset_states_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int, warned: bool
) -> None:
    (tmp_path / "records.bin").write_bytes(bytes(range(160)))
    code = SEEKING.format(path=str(tmp_path / "records.bin"))
    load_user_dataset(tmp_path / "user.py", "Records", code, normalize="none", num_workers=workers)
    assert ("data: the dataset keeps a file open (source.file)" in caplog.text) is warned
