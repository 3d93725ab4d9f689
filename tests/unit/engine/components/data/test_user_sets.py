"""Datasets in user code that have several sets, labels that are text, or transforms of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.data_files import all_of, load_user_dataset
from torchconsole.engine.components.data.types import DataModule
from torchconsole.engine.errors import ComponentError, DataError

SIZES = {"train": 20, "val": 6, "test": 4}

BASE = """
from pathlib import Path
from typing import Literal
class Rows(Dataset):
    sizes = {"a": 20, "b": 6, "c": 4}
    def fill(self, which):
        start = {"a": 0, "b": 100, "c": 200}[which]
        self.rows = list(range(start, start + self.sizes[which]))
    def __len__(self):
        return len(self.rows)
    def __getitem__(self, i):
        return torch.tensor([float(self.rows[i])]), self.rows[i] % 2

class Own(Rows):
    def __init__(self, {argument}):
        {body}
"""

WORDS = "self.fill({{{words}}}[{name}])"


def words(name: str, *pairs: tuple[str, str]) -> str:
    table = ", ".join(f"{word!r}: {which!r}" for word, which in pairs)
    return f"self.fill({{{table}}}[{name}])"


ALL = (("train", "a"), ("val", "b"), ("test", "c"))

SELECTIONS: dict[str, tuple[str, str, tuple[int, int, int | None]]] = {
    "train": ("train=True", "self.fill('a' if train else 'b')", (20, 6, None)),
    "required train": ("train", "self.fill('a' if train else 'b')", (20, 6, None)),
    "is_train": ("is_train: bool = True", "self.fill('a' if is_train else 'b')", (20, 6, None)),
    "test": ("test=False", "self.fill('b' if test else 'a')", (20, 6, None)),
    "val and test": ("val=False, test=False", "self.fill('b' if val else 'c' if test else 'a')", (20, 6, 4)),
    "flag": ("flag='train'", "assert flag in ['train', 'test', 'val']\n        " + words("flag", *ALL),
             (20, 6, 4)),
    "split": ("split='train'", words("split", *ALL), (20, 6, 4)),
    "required split": ("split", words("split", *ALL), (20, 6, 4)),
    "other words": ("mode='Training'", words("mode", ("Training", "a"), ("Validation", "b")), (20, 6, None)),
    "train and test": ("split='train'", words("split", ("train", "a"), ("test", "b")), (20, 6, None)),
    "eval": ("mode='train'", words("mode", ("train", "a"), ("eval", "b")), (20, 6, None)),
    "else": ("phase='train'", "self.fill('a' if phase == 'train' else 'b')", (20, 6, None)),
    "else train": ("split='train'", "self.fill('b' if split == 'test' else 'a')", (20, 6, None)),
    "annotation": ("split: Literal['train', 'dev'] = 'train'", "self.fill('a' if split[0] == 't' else 'b')",
                   (20, 6, None)),
    "all": ("split='all'", words("split", ("all", "a"), ("train", "a"), ("test", "b")), (20, 6, None)),
    "files": ("split", "self.fill((Path(__file__).parent / f'{split}.txt').read_text())", (20, 6, 4)),
    "words of folders": ("split", "which = {'train': 'Training', 'test': 'Testing'}[split]\n        "
                         "self.fill({'Training': 'a', 'Testing': 'b'}[which])", (20, 6, None)),
    "mode of colors": ("mode='rgb'", "self.fill('a'); self.mode = mode", (16, 4, None)),
    "fraction": ("train=0.8", "self.fill('a'); self.share = train + 0.1", (16, 4, None)),
    "no sets": ("split='train'", "self.fill('a')", (16, 4, None)),
}  # fmt: skip


def sizes(data: DataModule) -> tuple[int, int, int | None]:
    return data.train.samples_per_epoch, data.val.samples, data.test.samples if data.test else None


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_dataset_is_opened_for_each_set(selection: str, tmp_path: Path) -> None:
    argument, body, expected = SELECTIONS[selection]
    for name, which in (("train", "a"), ("valid", "b"), ("test", "c")):
        (tmp_path / f"{name}.txt").write_text(which)
    code = BASE.replace("{argument}", argument).replace("{body}", body)
    data = load_user_dataset(tmp_path / "own.py", "Own", code, normalize="none")
    assert sizes(data) == expected
    train, val = (set(all_of(batches)[0].flatten().tolist()) for batches in (data.train, data.val))
    assert not train & val


def test_a_set_that_the_preset_selects_is_split(tmp_path: Path) -> None:
    code = BASE.replace("{argument}", "split='train'").replace("{body}", words("split", *ALL))
    data = load_user_dataset(tmp_path / "own.py", "Own", code, split="val", val_split=2)
    assert sizes(data) == (4, 2, None)


def test_a_note_says_why_there_is_no_such_set(tmp_path: Path) -> None:
    body = "self.fill({'train': 'a', 'test': 'b'}[split] if split != 'val' else open('nowhere').read())"
    code = BASE.replace("{argument}", "split='train'").replace("{body}", body)
    notes = load_user_dataset(tmp_path / "own.py", "Own", code).notes
    assert "there is no set with split='val': FileNotFoundError: [Errno 2] No such file" in str(notes)
    assert f"{tmp_path}/own.py:Own is opened for each set with split: training, test" in notes


def test_other_arguments_leave_the_sets_alone_and_base_classes_may_take_them(tmp_path: Path) -> None:
    code = BASE.replace("{argument}", "split='train', mode='rgb'").replace("{body}", words("split", *ALL))
    code += """
class Inherited(Own):
    def __init__(self, scale=1, **others):
        super().__init__(**others)
"""
    for name in ("Own", "Inherited"):
        data = load_user_dataset(tmp_path / f"{name}.py", name, code, mode="hsv")
        assert sizes(data) == (20, 6, 4)


@pytest.mark.parametrize(
    ("argument", "body", "message"),
    [
        (
            "train=True",
            "self.fill('a')",
            r"has the same samples with train=False as for training; .*data\.train",
        ),
        (
            "split",
            "raise OSError('x')",
            r"data\.split: .* requires this argument, and rejects 'train': OSError: x",
        ),
        ("split='train'", "self.fill('a' if split == 'train' else {'val': 'b'}[split] + None)", "TypeError"),
        ("mode", "self.fill('a')", r"data\.mode: Own requires this argument"),
    ],
)
def test_sets_that_cannot_be_told_apart_are_refused(
    argument: str, body: str, message: str, tmp_path: Path
) -> None:
    code = BASE.replace("{argument}", argument).replace("{body}", body)
    with pytest.raises((ComponentError, DataError), match=message):
        load_user_dataset(tmp_path / "own.py", "Own", code)


LABELS = """
class Pets(Dataset):
    def __init__(self, split="train"):
        self.names = {"train": ["dog", "cat", "eel"] * 4, "val": ["eel", "cat"]}[split]
        {attribute}
    def __len__(self):
        return len(self.names)
    def __getitem__(self, i):
        name = self.names[i]
        return torch.tensor([float(len(name)), float(ord(name[0]))]), {label}
"""


@pytest.mark.parametrize("label", ["name", "name.encode()", "__import__('numpy').str_(name)"])
@pytest.mark.parametrize(
    ("attribute", "classes"),
    [
        ("pass", ["cat", "dog", "eel"]),
        ("self.labels = self.names", ["cat", "dog", "eel"]),
        ("self.samples = [('x.png', name) for name in self.names]", ["cat", "dog", "eel"]),
        ("self.classes = ['eel', 'dog', 'cat']", ["eel", "dog", "cat"]),
        ("self.targets = ['other'] * len(self.names)", ["cat", "dog", "eel"]),
    ],
)
def test_labels_may_be_text(label: str, attribute: str, classes: list[str], tmp_path: Path) -> None:
    """They are numbered alike in all sets, in the order of the dataset's classes or of the alphabet."""
    code = LABELS.replace("{attribute}", attribute).replace("{label}", label)
    data = load_user_dataset(tmp_path / "own.py", "Pets", code, normalize="none")
    assert data.spec.class_names == classes
    assert data.spec.num_outputs == 3
    for batches in (data.train, data.val):
        inputs, targets = all_of(batches)
        assert [classes[target][0] for target in targets] == [chr(int(row[1])) for row in inputs]


def test_a_label_that_only_a_held_out_set_has_is_refused(tmp_path: Path) -> None:
    code = (
        LABELS.replace("{attribute}", "pass")
        .replace("{label}", "name")
        .replace('"val": ["eel"', '"val": ["Cat"')
    )
    with pytest.raises(
        DataError, match=r"the label 'Cat' in a held-out set, but not in .*, did you mean 'cat'"
    ):
        load_user_dataset(tmp_path / "own.py", "Pets", code)


@pytest.mark.parametrize("name", ["Pets", "folder"])
def test_names_that_cannot_be_printed_are_escaped(name: str, tmp_path: Path) -> None:
    code = LABELS.replace("{attribute}", "pass").replace(
        "{label}", "{'cat': 'caf\\udce9', 'eel': '\\x1b[1m'}.get(name, name)"
    )
    code += """
def folder(root):
    from torchvision.datasets import ImageFolder
    return ImageFolder(root)
"""
    for label in ("caf\udce9", "\x1b[1m", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (3, 3)).save(tmp_path / "images" / label / f"{number}.png")
    keys = {"root": str(tmp_path / "images")} if name == "folder" else {}
    data = load_user_dataset(tmp_path / "own.py", name, code, **keys)
    assert data.spec.class_names == ["\\x1b[1m", "caf\\xe9", "dog"]
    all_of(data.train)


TRANSFORMED = """
from torchvision import transforms as v1
from torchvision.transforms import v2
from PIL import Image
steps = v1.Compose([v1.ToTensor(), v1.Normalize([0.5] * 3, [0.25] * 3)])
class Base(Dataset):
    def __len__(self):
        return 20
    def image(self, i):
        return Image.new("RGB", (4, 3), (10 * i, 5 * i, 128))
class Global(Base):
    def __getitem__(self, i):
        return steps(self.image(i)), i % 2
class Attribute(Base):
    def __init__(self):
        self.transform = v2.Compose([v2.RandomHorizontalFlip(), v2.Compose([steps])])
    def __getitem__(self, i):
        return self.transform(self.image(i)), i % 2
class Table(Base):
    def __init__(self):
        self.by_set = {"train": steps, "val": steps}
    def __getitem__(self, i):
        return self.by_set["train"](self.image(i)), i % 2
def subset():
    return torch.utils.data.Subset(Attribute(), range(20))
class Plain(Base):
    def __getitem__(self, i):
        return v1.functional.to_tensor(self.image(i)), i % 2
"""


@pytest.mark.parametrize("name", ["Global", "Attribute", "Table", "subset", "Plain"])
def test_inputs_that_a_dataset_normalizes_are_not_normalized_again(name: str, tmp_path: Path) -> None:
    data = load_user_dataset(tmp_path / "own.py", name, TRANSFORMED)
    blue = all_of(data.train)[0][:, 2]
    expected = (128 / 255 - 0.5) / 0.25 if name != "Plain" else 0.0
    assert torch.allclose(blue, torch.full_like(blue, expected), atol=1e-4)
    assert any("normalize the inputs already" in note for note in data.notes) == (name != "Plain")


def test_samples_without_a_readable_target_are_left_out_with_skip(tmp_path: Path) -> None:
    for number in range(12):
        pixels = np.full((4, 4, 3), number, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    for number in (0, 5):
        (tmp_path / f"{number:02}.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    code = """
from pathlib import Path
from PIL import Image
class Files(Dataset):
    def __init__(self, root):
        self.found = sorted(Path(root).glob("*.png"))
    def __len__(self):
        return len(self.found)
    def __getitem__(self, i):
        return Image.open(self.found[i]).convert("RGB"), "odd" if i % 2 else "even"
"""
    keys: dict[str, Any] = {"root": str(tmp_path), "val_split": 2, "normalize": "none"}
    with pytest.raises(DataError, match="cannot read sample 0"):
        load_user_dataset(tmp_path / "own.py", "Files", code, **keys)
    with pytest.raises(DataError, match=r"data\.max_corrupt: more than 1 sample cannot"):
        load_user_dataset(tmp_path / "own.py", "Files", code, on_corrupt="skip", max_corrupt=1, **keys)
    data = load_user_dataset(tmp_path / "own.py", "Files", code, on_corrupt="skip", **keys)
    assert data.spec.class_names == ["even", "odd"]
    inputs = [all_of(batches) for batches in (data.train, data.val)]
    found = {round(float(image.mean()) * 255): int(target) for images, targets in inputs
             for image, target in zip(images, targets, strict=True)}  # fmt: skip
    assert any(note.startswith("2 of 12 samples cannot be read and are left out") for note in data.notes)
    assert found == {number: number % 2 for number in range(12) if number not in (0, 5)}
