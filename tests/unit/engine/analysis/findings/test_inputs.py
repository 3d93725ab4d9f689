"""Findings on inputs and samples: each fault has its finding, and a twin without the fault has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.data_files import write_images
from tests.support.findings import (
    AMOUNTS,
    BINARY,
    CLASSES,
    IMAGES,
    Functional,
    by_name,
    checked,
    data_of,
    found,
    found_in_data,
)
from torchconsole.engine.analysis.findings import find
from torchconsole.engine.analysis.findings.inputs import _scale_ratio

FOLDERS = "imagefolder-finetune"
SMALL_NET = [
    *("model.name=SmallCNN", "model.freeze=[]", "model.weights=", "data.batch_size=6"),
    *("data.transforms.train=[]", "data.transforms.val=[]", "data.normalize=auto", "data.num_workers=0"),
]
MEAN_STD = "mean=[0.5], std=[0.5]"


def scaled(factor: float, shift: float = 0.0) -> Any:
    return lambda inputs, targets: (inputs * factor + shift, targets)


@pytest.mark.parametrize(("factor", "shift"), [(255.0, 0.0), (1.0, 1000.0), (1e-4, 0.0)])
def test_inputs_far_from_normalized(factor: float, shift: float) -> None:
    data = data_of(CLASSES, scaled(factor, shift))
    finding = found(CLASSES, data=data, model=nn.Linear(4, 3))["inputs-not-normalized"]
    assert finding.level == "warning"
    assert "data.normalize" in finding.remedy


def test_one_feature_that_is_not_normalized_is_enough() -> None:
    finding = found("wine-mlp", "data.normalize=none")["inputs-not-normalized"]
    assert "of 13 channels or features" in finding.evidence
    assert not found("wine-mlp")


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)),
        nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3)),
        Functional(nn.Identity(), lambda module, x: module.head(x / 255)),
    ],
)
def test_a_model_that_normalizes_has_no_finding(model: nn.Module) -> None:
    if isinstance(model, Functional):
        model.head = nn.Linear(4, 3)
    assert "inputs-not-normalized" not in found(CLASSES, data=data_of(CLASSES, scaled(255.0)), model=model)


def test_small_ranges_that_are_usual_have_no_finding() -> None:
    assert not found(CLASSES, "data.normalize=none")
    assert not found(AMOUNTS, "data.normalize=none")
    assert not found(IMAGES, "data.normalize={mean=[0.3], std=[0.4]}")


def test_a_heavy_tail_has_no_finding() -> None:
    def with_outlier(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([inputs[:1] * 300, inputs[1:]]), targets

    assert "inputs-not-normalized" not in found(CLASSES, data=data_of(CLASSES, with_outlier))


def normalizing(mean: float, std: float) -> nn.Module:
    model = Functional(nn.Identity(), lambda module, x: module.head((x - mean) / std))
    model.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    return model


def test_inputs_that_the_model_normalizes_again() -> None:
    finding = found(IMAGES, model=normalizing(0.485, 0.229))["normalized-twice"]
    assert "arrive at the first layer" in finding.evidence
    assert not found(IMAGES, model=normalizing(0.0, 1.0))


def test_features_that_the_model_computes_are_not_inputs_that_are_normalized_again() -> None:
    model = Functional(nn.Identity(), lambda module, x: module.head(torch.fft.fft2(x).abs()))
    model.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert "normalized-twice" not in found(IMAGES, model=model)


def test_values_of_normalize_on_inputs_that_are_normalized_already() -> None:
    again = "data.normalize={mean=[0.485], std=[0.229]}"
    steps = f'[{{name="ToTensor"}}, {{name="Normalize", {MEAN_STD}}}]'
    both = [f"data.transforms.train={steps}", f"data.transforms.val={steps}"]
    assert "remove Normalize" in found(IMAGES, again, *both)["normalized-twice"].remedy
    assert not found(IMAGES, *both)
    assert not found(IMAGES, "data.normalize=none", *both)
    assert not found(IMAGES, again)


def test_normalize_in_one_of_both_transforms() -> None:
    steps = f'[{{name="ToTensor"}}, {{name="Normalize", {MEAN_STD}}}]'
    finding = found(IMAGES, f"data.transforms.train={steps}", 'data.transforms.val=[{name="ToTensor"}]')
    assert finding["transforms-differ"].level == "warning"
    assert "data.transforms.val has no Normalize" in finding["transforms-differ"].evidence


def test_parts_of_different_ranges() -> None:
    raw = data_of(IMAGES, scaled(255.0))
    assert "transforms-differ" in found(IMAGES, data=raw)
    noisy = data_of(IMAGES, lambda inputs, targets: (inputs + 0.3 * torch.randn_like(inputs), targets))
    assert "transforms-differ" not in found(IMAGES, data=noisy)


@pytest.mark.parametrize(("share", "other_share"), [(0.52, 0.48), (0.48, 0.52), (0.45, 0.45), (0.7, 0.3)])
def test_zeros_that_augmentation_adds_are_no_other_range(share: float, other_share: float) -> None:
    generator = torch.Generator().manual_seed(0)

    def part(zeros: float, scale: float) -> torch.Tensor:
        values = torch.randint(1, 17, (20_000,), generator=generator) / 16 * scale
        return values * (torch.rand(20_000, generator=generator) >= zeros)

    assert _scale_ratio(part(share, 1.0), part(other_share, 1.0)) == pytest.approx(1, abs=0.2)
    assert _scale_ratio(part(share, 1.0), part(other_share, 255.0)) == pytest.approx(255, rel=0.2)


def test_a_validation_batch_of_one_dark_class_is_no_other_range() -> None:
    done = checked(IMAGES)
    inputs, targets = done.dry_run.batch
    label = targets.mode().values
    few = inputs[targets == label].repeat(8, 1, 1, 1)[:8] / 100
    others = targets != label
    batch = torch.cat([few, inputs[others]]), torch.cat([label.repeat(8), targets[others]])
    for eval_inputs, differs in ((few, False), (few * 1e4, True)):
        eval_batch = (eval_inputs, label.repeat(8))
        run = replace(done.dry_run, batch=batch, eval_batch=eval_batch)
        assert ("transforms-differ" in {each.name for each in find(done.setup, run)}) == differs


@pytest.mark.parametrize("dense", [0.01, 0.049, 0.06, 0.3])
def test_sparse_parts_that_are_alike_have_no_finding(dense: float) -> None:
    assert not _sparse(dense, 1.0)


@pytest.mark.parametrize("dense", [0.02, 0.3])
def test_sparse_parts_of_different_ranges(dense: float) -> None:
    assert _sparse(dense, 255.0)


def test_a_part_that_is_constant() -> None:
    assert _differ(torch.zeros(1250, 4), torch.randn(1250, 4))
    assert not _differ(torch.zeros(1250, 4), torch.zeros(1250, 4))


def test_values_that_are_not_finite_have_no_range() -> None:
    assert not _differ(torch.randn(1250, 4), torch.full((1250, 4), torch.nan))


def _sparse(dense: float, factor: float) -> bool:
    """Whether two samples of counts of which few are not 0 are found to differ."""
    random = torch.Generator().manual_seed(0)
    shape = (5000, 4)
    counts = [
        (torch.rand(shape, generator=random) < share) * torch.randn(shape, generator=random).exp()
        for share in (dense, 0.9 * dense)
    ]
    return _differ(counts[0], factor * counts[1])


def _differ(train: Tensor, val: Tensor) -> bool:
    """Whether these inputs (B, 4) of both parts are found to differ."""
    done = checked(CLASSES, "data.normalize=none")
    batch, eval_batch = (train, done.dry_run.batch[1]), (val, done.dry_run.eval_batch[1])
    run = replace(done.dry_run, batch=batch, eval_batch=eval_batch)
    return "transforms-differ" in {each.name for each in find(done.setup, run)}


def test_images_of_different_sizes() -> None:
    pooling = nn.Sequential(nn.Conv2d(1, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    bigger = data_of(IMAGES, lambda inputs, targets: (inputs.repeat(1, 1, 3, 3), targets))
    assert "24x24 and 8x8" in found(IMAGES, data=bigger, model=pooling)["transforms-differ"].evidence


def test_unbalanced_classes() -> None:
    done = checked(BINARY)

    def names(**keys: Any) -> set[str]:
        data = replace(done.setup.data, class_counts=torch.tensor([950, 50]))
        loss = done.setup.preset.loss.model_copy(update=keys)
        preset = done.setup.preset.model_copy(update={"loss": loss})
        setup = replace(done.setup, data=data, preset=preset)
        return set(by_name(find(setup, done.dry_run)))

    assert names() == {"classes-unbalanced"}
    assert not names(weight="balanced")


def test_the_remedy_for_unbalanced_classes_names_a_key() -> None:
    done = checked(BINARY)
    done = replace(
        done, setup=replace(done.setup, data=replace(done.setup.data, class_counts=torch.tensor([950, 5])))
    )
    finding = by_name(find(done.setup, done.dry_run))["classes-unbalanced"]
    assert "950 training samples" in finding.evidence
    assert 'loss.weight = "balanced"' in finding.remedy


def images(root: Path, *overrides: str) -> dict[str, Any]:
    return found_in_data(FOLDERS, f"data.root={root}", *SMALL_NET, *overrides)


def test_equal_images_in_both_parts(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"cat": 9, "dog": 9}, seed=1)
    write_images(tmp_path / "val", {"cat": 4, "dog": 4}, seed=2)
    assert not images(tmp_path)
    copied = tmp_path / "train" / "cat" / "copy.png"
    copied.write_bytes((tmp_path / "val" / "cat" / "001.png").read_bytes())
    (tmp_path / "train" / "dog" / "copy.png").write_bytes(copied.read_bytes())
    other = (tmp_path / "val" / "dog" / "002.png").read_bytes()
    (tmp_path / "train" / "dog" / "other.png").write_bytes(other)
    finding = images(tmp_path, "data.batch_size=5")["samples-in-both-parts"]
    assert finding.level == "warning"
    assert finding.evidence.startswith("2 of 8 validation samples are also in the training set, for example")


def test_a_class_that_a_part_lacks(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"cat": 9, "dog": 9, "owl": 9}, seed=1)
    write_images(tmp_path / "val", {"cat": 4, "dog": 4}, seed=2)
    (tmp_path / "val" / "owl").mkdir()
    finding = found(FOLDERS, f"data.root={tmp_path}", *SMALL_NET)["classes-absent"]
    assert finding.evidence == "1 of 3 classes have no validation samples: owl"


def table(path: Path, rows: list[str], *overrides: str) -> dict[str, Any]:
    path.write_text("\n".join(["a,b,target", *rows]) + "\n", encoding="utf-8")
    return found_in_data("csv-regression", f"data.root={path}", "data.batch_size=8", *overrides)


def test_equal_rows_of_a_table(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    numbers = torch.randn(60, 3, generator=random).tolist()
    rows = [",".join(f"{value:.3f}" for value in row) for row in numbers]
    assert not table(tmp_path / "all.csv", rows)
    assert table(tmp_path / "twice.csv", rows + rows)["samples-in-both-parts"].level == "warning"
    assert table(tmp_path / "some.csv", rows + rows[:12])["samples-in-both-parts"].level == "warning"
    numbers = torch.randn(60, 3, generator=random).abs().tolist()
    coarse = [",".join(f"{value:.1f}" for value in row) for row in numbers]
    assert table(tmp_path / "coarse.csv", coarse)["few-samples-in-both-parts"].level == "hint"


def test_a_regression_on_what_look_like_classes(tmp_path: Path) -> None:
    rows = [f"{number % 7}.5,{number}.25,{number % 3}" for number in range(60)]
    finding = table(tmp_path / "classes.csv", rows)["regression-on-classes"]
    assert finding.level == "hint"
    assert 'data.task = "multiclass"' in finding.remedy
    amounts = [f"{number % 7}.5,{number}.25,{number * 7 % 50}" for number in range(60)]
    assert not table(tmp_path / "amounts.csv", amounts)
