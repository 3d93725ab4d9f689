"""How folders of images are laid out: which folders are the sets, which the classes, and what is hidden."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.data_files import all_of, load, write_images
from torchconsole.engine.components.data.sources.folder_layout import set_named
from torchconsole.engine.errors import DataError

TWO = ("cat", "dog")


def write(root: Path, *files: str) -> None:
    """Write two small images for each folder, or one file with another suffix."""
    for name in files:
        if Path(name).suffix:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        else:
            write_images(root, {name: 2}, size=(4, 4))


LAYOUTS: dict[str, list[str]] = {
    "sets with long names": ["Training/cat", "Training/dog", "Testing/cat", "Testing/dog"],
    "sets in capitals": ["TRAIN/cat", "TRAIN/dog", "Valid/cat", "Valid/dog"],
    "dev": ["train_set/cat", "train_set/dog", "dev_set/cat", "dev_set/dog"],
    "eval": ["train/cat", "train/dog", "eval/cat", "eval/dog"],
    "sets around sets": [f"seg_{part}/seg_{part}/{name}" for part in ("train", "test") for name in TWO]
    + ["seg_pred/seg_pred"],
    "unlabelled test images": ["train/cat", "train/dog", "val/cat", "val/dog", "test", "test/images"],
    "an unlabelled test set in itself": ["pets_train/cat", "pets_train/dog", "pets_test/pets_test",
                                         "pets_val/cat", "pets_val/dog"],
    "a copy of itself": [f"{inner}{part}/{name}" for inner in ("", "pets/") for part in ("train", "val")
                         for name in TWO],
    "folders around the sets": [f"pets/images/{part}/{name}" for part in ("train", "test") for name in TWO],
    "images inside of classes": [f"{part}/{name}/images" for part in ("train", "val") for name in TWO],
    "the other way round": [f"{name}/{part}" for part in ("train", "validation") for name in TWO],
    "sets at the end of names": [f"{name}_{part}" for part in ("train", "test") for name in TWO],
    "sets at the start of names": [f"{part}-{name}" for part in ("Train", "Val") for name in TWO],
    "sets and classes without a mark between them": [f"{part}{name}" for part in ("train", "test")
                                                     for name in ("Cat", "Dog")],
    "sets with one prefix": [f"pets_{part}/{name}" for part in ("train", "test") for name in TWO],
    "classes beside a test set": [*TWO, "test/cat", "test/dog"],
    "annotations": ["images/train/cat", "images/train/dog", "images/test/cat", "images/test/dog",
                    "labels/train/1.txt"],
    "hidden folders": ["train/cat", "train/dog", "train/.ipynb_checkpoints", "val/cat", "val/dog",
                       "val/cat/.ipynb_checkpoints", "__MACOSX/train/cat", ".git/objects"],
    "hidden files": ["train/cat", "train/dog", "val/cat", "val/dog", "train/cat/._000.png",
                     "val/dog/Thumbs.db"],
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sets_and_classes_are_recognized(layout: str, tmp_path: Path) -> None:
    write(tmp_path, *LAYOUTS[layout])
    data = load("ImageFolder", root=str(tmp_path), in_memory=False)
    assert [name.lower() for name in data.spec.class_names] == ["cat", "dog"]
    for batches in (data.train, data.val):
        assert Counter(all_of(batches)[1].tolist()) == {0: 2, 1: 2}
    assert any("sets by folder: training " in note for note in data.notes)


@pytest.mark.parametrize(
    ("files", "classes"),
    [
        (["car", "train", "plane"], ["car", "plane", "train"]),
        (["cat", "dog", "test"], ["cat", "dog", "test"]),
        (["valid", "invalid"], ["invalid", "valid"]),
        (["test_positive", "test_negative"], ["test_negative", "test_positive"]),
        (["cat_images", "dog_images"], ["cat_images", "dog_images"]),
        (["data/cat", "data/dog"], ["cat", "dog"]),
        (["Training/cat", "Training/dog"], ["cat", "dog"]),
        (["train/cat", "train/dog", "extra"], ["cat", "dog"]),
        (["animal/cat", "animal/dog", "vehicle/car", "vehicle/bus"], ["animal", "vehicle"]),
        (["car/red", "train/red", "train/blue", "car/blue", ".ipynb_checkpoints"], None),
        (["Train", "Test"], None),
        (["pets/train/cat", "pets/train/dog", "pets/val/cat", "other"], None),
        (["cat/train", "cat/test", "dog"], None),
        (["pets_train", "pets_test"], None),
        (["val/cat", "val/dog", "test/cat", "test/dog"], None),
        (["train/cat", "train/dog", "val/cat", "valid/cat"], None),
    ],
)
def test_a_class_may_be_called_like_a_set(
    files: list[str], classes: list[str] | None, tmp_path: Path
) -> None:
    """What is not clear is refused, with what to do."""
    write(tmp_path, *files)
    if classes is None:
        with pytest.raises(DataError, match=r"data\.root: .*(rename|put the images of each class into)"):
            load("ImageFolder", root=str(tmp_path))
        return
    data = load("ImageFolder", root=str(tmp_path), val_split=2)
    assert data.spec.class_names == classes


def test_notes_say_what_is_left_out_and_what_is_a_class(tmp_path: Path) -> None:
    write(tmp_path / "a", "train/cat", "train/dog", "test", "extra", "train/cat/notes.txt")
    notes = load("ImageFolder", root=str(tmp_path / "a")).notes
    assert "sets by folder: training train" in notes
    assert "left out, because they are no sets with class folders: extra, test" in notes
    assert "other files in the class folders are left out: .txt (1)" in notes
    write(tmp_path / "c", "cat/images", "cat/masks", "dog/images")
    notes = load("ImageFolder", root=str(tmp_path / "c")).notes
    assert "folders inside of the classes are read too: images, masks" in notes
    write(tmp_path / "b", "car", "train")
    notes = load("ImageFolder", root=str(tmp_path / "b")).notes
    assert "train is a class, not a set, because it holds no class folders" in notes


def test_a_class_that_a_set_lacks_or_has_in_another_spelling(tmp_path: Path) -> None:
    write(tmp_path, "train/cat", "train/dog", "test/dog")
    assert all_of(load("ImageFolder", root=str(tmp_path)).val)[1].tolist() == [1, 1]
    write(tmp_path, "test/Cat")
    with pytest.raises(DataError, match=r"test/Cat is the class 'Cat', which .*, did you mean 'cat'"):
        load("ImageFolder", root=str(tmp_path))


def test_a_class_name_that_is_not_utf8_is_shown_escaped(tmp_path: Path) -> None:
    write(tmp_path, "cafe", "tea")
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    (tmp_path / "cafe").rename(folder)
    keys: dict[str, Any] = {"root": str(tmp_path), "val_split": 2, "in_memory": False}
    data = load("ImageFolder", **keys)
    assert data.spec.class_names == ["caf\\xe9", "tea"]
    assert sorted(all_of(data.train)[1].tolist()) == [0, 1]
    for file in folder.iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot read .*caf.*e9/00\d.png"):
        all_of(load("ImageFolder", **keys).train)


def test_a_link_to_a_folder_above_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "cat", "dog")
    (tmp_path / "cat" / "all").symlink_to(tmp_path)
    data = load("ImageFolder", root=str(tmp_path), val_split=2)
    assert data.train.samples_per_epoch == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("train", "train"), ("Training_Set", "train"), ("train2017", "train"), ("01-train", "train")),
        *(("valid", "val"), ("validation images", "val"), ("TestData", "test"), ("evaluation", "eval")),
        *(("trains", None), ("strain", None), ("train_cats", None), ("testimony", None), ("devil", None)),
        *(("images", None), ("2017", None)),
    ],
)
def test_sets_are_named_by_a_word_and_fillers(name: str, expected: str | None) -> None:
    assert set_named(name) == expected


@pytest.mark.parametrize(
    "folders",
    [
        ["leren/cat", "leren/dog", "validation/cat", "validation/dog"],  # one name is known
        ["leren/cat", "leren/dog", "leren/eel", "proef/cat", "proef/dog"],  # none is
        ["kept/cat", "kept/dog", "val/eel", "val/fox"],
        [f"fold_{number}/{name}" for number in range(5) for name in TWO],
    ],
)
def test_sets_with_unknown_names_are_not_taken_for_classes(tmp_path: Path, folders: list[str]) -> None:
    write(tmp_path, *folders)
    with pytest.raises(DataError, match=r"may be sets or classes.*rename them to train, val and test"):
        load("ImageFolder", root=str(tmp_path))


def test_classes_may_have_folders_of_the_same_names(tmp_path: Path) -> None:
    write(tmp_path / "a", *(f"{name}/{view}" for name in TWO for view in ("images", "masks")))
    write(tmp_path / "b", *(f"{name}/{view}" for name in "vwxyz" for view in ("front", "side")))
    for root in ("a", "b"):
        names = load("ImageFolder", root=str(tmp_path / root)).spec.class_names
        assert names == (list(TWO) if root == "a" else list("vwxyz"))


def test_a_folder_with_class_folders_is_left_out_for_its_name(tmp_path: Path) -> None:
    write(tmp_path, *(f"{part}/{name}" for part in ("Training", "misc", "Test") for name in TWO), "extra")
    notes = load("ImageFolder", root=str(tmp_path)).notes
    assert "left out, because they are not called like a set, such as train, val or test: misc" in notes
    assert "left out, because they are no sets with class folders: extra" in notes
    assert set_named("Validierung") == set_named("validac\u0327a\u0303o") == "val"
