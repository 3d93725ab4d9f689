"""Normalization: measured on the training set only, given or left out; and cached for image files."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from tests.support.data_files import all_of, load, load_user_dataset, write_cifar10, write_images
from torchconsole.engine.components import phase_progress
from torchconsole.engine.components.data import image_depth, measuring
from torchconsole.engine.components.data.datasets import MapStyleDataset
from torchconsole.engine.components.data.loader import LoaderOptions
from torchconsole.engine.components.data.measuring import MeanStd, Measured, load_mean_std, store_mean_std
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import PhaseChanged

FLIP = {"train": [{"name": "RandomHorizontalFlip"}]}


def test_tables_are_normalized_per_feature_with_values_of_the_training_set() -> None:
    raw, data = load("wine", normalize="none"), load("wine")
    train, val = all_of(data.train)[0], all_of(data.val)[0]
    std, mean = torch.std_mean(all_of(raw.train)[0], dim=0, correction=0)
    assert torch.allclose(train.mean(0), torch.zeros(13), atol=1e-5)
    assert torch.allclose(train.std(0, correction=0), torch.ones(13), atol=1e-5)
    assert torch.allclose(val, (all_of(raw.val)[0] - mean) / std, atol=1e-5)


@pytest.mark.parametrize("transforms", [{}, FLIP])
def test_images_of_bytes_are_normalized_per_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transforms: Any
) -> None:
    images = torch.from_numpy(write_cifar10(tmp_path, monkeypatch)[:100]).double() / 255
    data = load("CIFAR10", root=str(tmp_path), transforms=transforms)
    train = all_of(data.train)[0]
    assert torch.allclose(train.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(train.std((0, 2, 3)), torch.ones(3), atol=1e-4)
    std, mean = torch.std_mean(images, dim=(0, 2, 3), correction=0)
    raw = all_of(load("CIFAR10", root=str(tmp_path), normalize="none").val)[0].double()
    expected = (raw - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    assert torch.allclose(all_of(data.val)[0].double(), expected, atol=1e-5)


def test_a_given_mean_and_std_refer_to_images_scaled_to_0_to_1(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 6, "b": 6})
    given = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    for transforms in ({}, {"train": [{"name": "RandomHorizontalFlip", "p": 0.0}]}):
        data = load("ImageFolder", root=str(tmp_path), normalize=given, transforms=transforms)
        raw = load("ImageFolder", root=str(tmp_path), normalize="none", transforms=transforms)
        mean, std = (torch.tensor(given[key]).view(3, 1, 1) for key in ("mean", "std"))
        assert torch.allclose(all_of(data.train)[0], (all_of(raw.train)[0] - mean) / std, atol=1e-5)


def test_a_constant_feature_becomes_zero(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    inputs[:, 1] = 0.1
    np.savez(tmp_path / "data.npz", inputs=inputs, targets=np.arange(30) % 2)
    found = all_of(load("NPZ", root=str(tmp_path / "data.npz")).train)[0]
    assert found[:, 1].abs().max() < 1e-5
    assert found[:, 0].std() > 0.5


def test_sequences_are_normalized_per_feature(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal([0, 10], [1, 5], size=(40, 7, 2))
    np.savez(tmp_path / "data.npz", inputs=inputs, targets=np.arange(40) % 2)
    data = load("NPZ", root=str(tmp_path / "data.npz"))
    assert data.spec.input_shape == (7, 2)
    assert torch.allclose(all_of(data.train)[0].mean((0, 1)), torch.zeros(2), atol=1e-5)


@pytest.mark.parametrize(("count", "channels"), [(3, 1), (2, 3)])
def test_a_message_about_an_unfit_mean_and_std_is_one_line(count: int, channels: int, tmp_path: Path) -> None:
    given = {"mean": [0.5] * count, "std": [0.5] * count}
    images = np.zeros((20, channels, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", inputs=images, targets=np.arange(20) % 2)
    with pytest.raises(DataError, match=rf"data\.normalize: {count} mean .* {channels} channels"):
        load("NPZ", root=str(tmp_path / "data.npz"), normalize=given)


def test_image_files_are_measured_once(tmp_path: Path) -> None:
    """They are measured through the validation's transforms, and again only if a file changes."""
    write_images(tmp_path, {"a": 30, "b": 30}, size=(10, 8))
    grey = [{"name": "Grayscale"}]
    keys: dict[str, Any] = {
        "root": str(tmp_path),
        "transforms": {"train": [*grey, *FLIP["train"]], "val": grey},
    }
    first = load("ImageFolder", **keys)
    assert first.spec.input_shape == (1, 8, 10)
    assert abs(float(all_of(first.train)[0].mean())) < 1e-4
    assert abs(float(all_of(first.train)[0].std()) - 1) < 1e-3

    measured: list[int] = []
    measure_samples = measuring.measure_samples
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "torchconsole.engine.components.data.measuring.measure_samples",
            lambda *arguments: measured.append(1) or measure_samples(*arguments),
        )
        again = load("ImageFolder", **keys)
        assert not measured
        assert torch.equal(all_of(again.train)[0], all_of(first.train)[0])
        for path in (tmp_path / "a").iterdir():
            Image.new("RGB", (10, 8)).save(path)
        load("ImageFolder", **keys)
        assert measured


def test_values_of_an_earlier_version_of_user_code_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "images", {"a": 6, "b": 6})
    code = """
from pathlib import Path
from PIL import Image
class Files(Dataset):
    def __init__(self, root):
        self.images = sorted(Path(root).glob("*/*.png"))
    def __len__(self):
        return len(self.images)
    def __getitem__(self, i):
        return Image.open(self.images[i]).point(lambda value: value // 1), i % 2
"""
    found = []
    for how in ("// 1", "// 2"):
        keys = {"root": str(tmp_path / "images")}
        found.append(load_user_dataset(tmp_path / "own.py", "Files", code.replace("// 1", how), **keys))
        imported = next(
            name
            for name, module in sys.modules.items()
            if name.startswith("torchconsole_user_code_own_") and module.__file__ == str(tmp_path / "own.py")
        )
        monkeypatch.delitem(sys.modules, imported)
    first, second = found
    assert first.measured is not None
    assert second.measured is not None
    assert second.measured.mean[0] < 0.6 * first.measured.mean[0]


def test_values_for_other_arguments_are_not_used(tmp_path: Path) -> None:
    write_images(tmp_path / "images", {"a": 6, "b": 6})
    code = """
from pathlib import Path
from PIL import Image
class Files(Dataset):
    def __init__(self, root, divisor):
        self.images, self.divisor = sorted(Path(root).glob("*/*.png")), divisor
    def __len__(self):
        return len(self.images)
    def __getitem__(self, i):
        return Image.open(self.images[i]).point(lambda value: value // self.divisor), i % 2
"""
    keys: dict[str, Any] = {"root": str(tmp_path / "images")}
    means = []
    for divisor in (1, 2, 1):
        data = load_user_dataset(tmp_path / "own.py", "Files", code, divisor=divisor, **keys)
        assert data.measured is not None
        means.append(data.measured.mean[0])
    assert means[1] < 0.6 * means[0] == 0.6 * means[2]


def test_values_for_another_depth_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other images of the training set, which are not measured, decide how all are decoded."""
    write_images(tmp_path, {"a": 6, "b": 6})
    folder = {"root": str(tmp_path), "in_memory": False, "val_split": 2}
    first, measured = load("ImageFolder", **folder), []
    monkeypatch.setattr(image_depth, "find_kinds", lambda paths: {"16 bits": paths})
    monkeypatch.setattr(measuring, "load_mean_std", lambda key: measured.append(key))
    monkeypatch.setattr(measuring, "store_mean_std", lambda key, found: measured.append(key))
    load("ImageFolder", **folder)
    monkeypatch.setattr(image_depth, "find_kinds", lambda paths: {})
    load("ImageFolder", **folder)
    assert first.measured is not None
    assert measured[0] == measured[1] != measured[2] == measured[3]


def test_only_some_of_many_images_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "MAX_MEASURED", 10)
    write_images(tmp_path, {"a": 30, "b": 30})
    data = load("ImageFolder", root=str(tmp_path), transforms=FLIP, in_memory=False)
    [note] = data.notes
    assert note.startswith("inputs are normalized by mean 0.")
    assert note.endswith("measured on 10 of 48 training samples")


def test_with_recorded_values_inputs_are_the_same_in_memory_and_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume may change `data.in_memory`, which also decides how many samples are measured."""
    monkeypatch.setattr(measuring, "MAX_MEASURED", 10)
    write_images(tmp_path, {"a": 30, "b": 30})
    in_memory = load("ImageFolder", root=str(tmp_path), in_memory=True)
    measured_again = load("ImageFolder", root=str(tmp_path), in_memory=False)
    assert not torch.equal(all_of(measured_again.train)[0], all_of(in_memory.train)[0])
    assert in_memory.measured is not None
    recorded = in_memory.measured.model_dump()
    resumed = load("ImageFolder", root=str(tmp_path), in_memory=False, normalize=recorded)
    assert torch.equal(all_of(resumed.train)[0], all_of(in_memory.train)[0])
    assert resumed.measured is None


def test_a_cache_that_cannot_be_read_or_written_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = Measured(MeanStd(torch.tensor([0.1, 0.2]), torch.tensor([1.0, 2.0])), samples=9)
    assert store_mean_std("key", found) is None
    loaded = load_mean_std("key")
    assert loaded is not None
    assert torch.equal(loaded.found.mean, found.found.mean)
    assert loaded.samples == 9
    broken = ('{"mean": "x"}', '{"mean": [1], "std": [1, 2], "samples": 9}', '{"mean": {}, "std": {}}')
    for content in ("", "[]", *broken):
        (tmp_path / "torchconsole" / "mean_std" / "key.json").write_text(content)
        assert load_mean_std("key") is None
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    problem = store_mean_std("key", found)
    assert problem is not None
    assert "measured again at each start" in problem


class Lit(Dataset[Any]):
    """Images that differ in brightness: mean 0.5, a std of `spread` between images and 0.1 within."""

    def __init__(self, count: int, spread: float) -> None:
        self.count, self.spread = count, spread

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        random = np.random.default_rng(index)
        pixels = random.normal(0.5 + self.spread * random.choice([-1, 1]), 0.1, (2, 4, 4))
        return torch.from_numpy(pixels).float(), 0


def measure(count: int, spread: float, workers: Any = 0, report: Any = lambda phase: None) -> Measured:
    dataset = MapStyleDataset(Lit(count, spread), torch.zeros(count), fixed=True)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))[: measuring.MAX_MEASURED]
    options = LoaderOptions(torch.device("cpu"), num_workers=0, pin_memory=False, timeout=20)
    return measuring.measure_samples(dataset, order, None, 1, workers, options, report)


@pytest.mark.parametrize(
    ("count", "spread", "fewest", "most"),
    [
        (200, 0.0, 200, 200),  # too few to stop before the end
        (20_000, 0.0, 256, 704),  # 16 independent pixels: (100 / 4)^2 = 625
        (20_000, 0.1, 3_600, 4_600),  # half of the variance is between images: 100^2 / 2, and 20,000 in all
        (20_000, 9.0, 5_000, 5_000),  # all of it: at the limit
    ],
)
def test_measuring_stops_at_a_hundredth_of_the_std(count: int, spread: float, fewest: int, most: int) -> None:
    measured = measure(count, spread)
    assert fewest <= measured.samples <= most
    std = measured.found.std
    assert ((measured.found.mean - 0.5).abs() < 0.04 * std).all() or count == 200
    assert std[0] == pytest.approx((spread**2 + 0.1**2) ** 0.5, rel=0.05)


def test_the_result_does_not_depend_on_the_number_of_workers() -> None:
    found = [measure(1_000, 0.02, workers) for workers in (0, 1, 3)]
    assert len({each.samples for each in found}) == 1
    assert found[0].samples < 1_000
    for other in found[1:]:
        assert torch.equal(other.found.mean, found[0].found.mean)
        assert torch.equal(other.found.std, found[0].found.std)


def test_the_progress_tells_how_many_samples_are_likely_to_be_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phase_progress, "INTERVAL", 0.0)
    phases: list[PhaseChanged] = []
    measured = measure(20_000, 0.05, report=phases.append)
    assert phases[0].total == 5_000
    assert phases[-1].total is not None
    assert measured.samples - 64 <= phases[-1].total < measured.samples + 500
    assert [phase.done for phase in phases] == sorted(phase.done or 0 for phase in phases)


def test_what_was_measured_is_shown(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 6, "b": 6})
    given = {"mean": [0.5], "std": [0.25]}
    measured, stated = (load("ImageFolder", root=str(tmp_path), normalize=n) for n in ("auto", given))
    pattern = r"inputs are normalized by mean 0\.\d+, .* and standard deviation 0.*, measured on all 9"
    assert any(re.match(pattern, note) for note in measured.notes)
    assert not any("normalized" in note for note in stated.notes)
    [note] = [note for note in load("wine").notes if "normalized" in note]
    assert "mean and standard deviation of each of 13 channels or features, measured on all 142" in note
