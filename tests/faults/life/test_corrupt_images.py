"""Damaged image files: the run fails and names the path, or replaces the samples, up to a limit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.data_files import load as load_files
from torchconsole.engine.components.data.types import DataModule
from torchconsole.engine.errors import DataError

BROKEN = (0, 7, 31)
PER_CLASS = 32


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with two classes of images, dark and light; three dark ones are damaged."""
    for label, name in enumerate(("dark", "light")):
        (tmp_path / name).mkdir()
        for number in range(PER_CLASS):
            pixels = np.full((8, 8, 3), 20 + 200 * label + number, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number:02}.png")
    for number in BROKEN:
        file = tmp_path / "dark" / f"{number:02}.png"
        file.write_bytes(file.read_bytes()[:40])
    return tmp_path


def load(images: Path, **keys: Any) -> DataModule:
    """Load the images, 16 of them for validation."""
    return load_files("ImageFolder", root=str(images), val_split=16, batch_size=8, **keys)


def samples(data: DataModule) -> list[tuple[float, int]]:
    """Return (mean of the input, target) of each training sample of an epoch."""
    return [
        (float(input.mean()), int(target))
        for inputs, targets in data.train.epoch(0)
        for input, target in zip(inputs, targets, strict=True)
    ]


READERS: dict[str, dict[str, Any]] = {
    "in memory": {},
    "one by one": {"in_memory": False},
    "by data loader workers": {"in_memory": False, "num_workers": 2},
}


@pytest.mark.parametrize("reader", READERS)
def test_by_default_the_run_fails_and_names_the_path(images: Path, reader: str) -> None:
    with pytest.raises(DataError, match=r"cannot read .*/dark/\d\d\.png"):
        samples(load(images, **READERS[reader]))


@pytest.mark.parametrize("reader", READERS)
def test_with_skip_readable_samples_replace_the_corrupt_ones(
    images: Path, reader: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Batches keep their size, and a replacement brings its own target."""
    with caplog.at_level(logging.WARNING):
        data = load(images, on_corrupt="skip", normalize="none", **READERS[reader])
        seen = samples(data)
        evaluated = sum(len(targets) for _, targets in data.val)
    assert (len(seen), evaluated) == (48, 16)
    assert all((mean > 0.5) == bool(target) for mean, target in seen)
    assert "3 samples cannot be read; the next readable sample is used instead" in caplog.text
    assert "00.png" in caplog.text
    if reader == "in memory":
        assert any("cannot be read; the next readable sample is used" in note for note in data.notes)
    assert torch.equal(torch.tensor(seen), torch.tensor(samples(data))), "the same in every epoch"


@pytest.mark.parametrize("reader", READERS)
def test_more_corrupt_samples_than_max_corrupt_are_an_error(images: Path, reader: str) -> None:
    def read_all() -> None:
        data = load(images, on_corrupt="skip", max_corrupt=2, **READERS[reader])
        samples(data)
        list(data.val)

    with pytest.raises(DataError, match=r"data\.max_corrupt: more than 2 samples cannot be read.*png"):
        read_all()
