"""Sets of datasets in user code that have the same samples, although one of them is augmented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.data_files import load_user_dataset
from torchconsole.engine.errors import DataError

AUGMENTED = """
import numpy as np, os, random
from pathlib import Path
from PIL import Image
from torch.utils.data import Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

class Files(Dataset):
    def __init__(self, root, {argument}):
        self.flag = {name}
        {body}
    def __len__(self):
        return len(self.files)
    def __getitem__(self, i):
        row = self.files[i]
        file = row["path"] if isinstance(row, dict) else row[1] if isinstance(row, tuple) else row
        image = np.array(Image.open(os.path.join(getattr(self, "folder", ""), file)))
        if self.flag in (True, "train"):
            image = {augment}
        return image, i % 2
"""

EVERY = "self.files = sorted(str(path) for path in Path(root).glob('*/*/*.png'))"
OF_SET = "self.files = sorted(Path(root).glob(('b', 'a')[is_training] + '/*/*.png'))"
NAMES = "self.folder = Path(root, 'a' if is_training else 'b', '0'); self.files = os.listdir(self.folder)"
TABLE = (
    "import pandas; self.files = ['0.png'] * 8; self.folder = root / 'a'; "
    "self.rows = pandas.DataFrame({'start': range(is_training, 8 + is_training)})"
)
NOISE = "image // 2 + np.random.randint(0, 99, image.shape, dtype=np.uint8)"


@pytest.mark.parametrize(
    ("argument", "body", "augment", "same"),
    [
        ("is_training=True", EVERY, NOISE, True),
        ("mode='train'", EVERY + "; self.known = ('train', 'test')", NOISE, True),
        ("train", EVERY, "255 - image", True),
        ("is_training=True", EVERY + "; self.flag and random.shuffle(self.files)", NOISE, True),
        ("is_training=True", "self.files = [f'../{i}.png' for i in range(16)]; self.folder = root / 'a/0'",
         NOISE, True),
        ("is_training=True", EVERY + "; self.files = [{'label': 1, 'path': f} for f in self.files]",
         NOISE, True),
        ("is_training=True", OF_SET + "; self.files = [(1, f) for f in self.files]", NOISE, False),
        ("is_training=True", OF_SET, NOISE, False),
        ("is_training=True", TABLE, NOISE, False),
        ("is_training=True", NAMES, NOISE, False),
        ("is_training=True", NAMES, "255 - image", False),
        ("is_training=True", EVERY + "; self.start = list(range(16)) if self.flag else list(range(16, 32))",
         "255 - image", False),
        ("is_training=True", "self.files = os.listdir(root / 'a/0'); "
         "self.folder = root / ('a/0' if self.flag else 'b/0')", NOISE, False),
    ],
)  # fmt: skip
def test_a_set_that_only_differs_by_augmentation_is_no_held_out_set(
    argument: str, body: str, augment: str, same: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for part in ("a", "b"):
        for number in range(8):
            folder = tmp_path / part / "0"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 200, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            Image.fromarray(pixels).save(folder.parent / f"{number}.png")
            Image.fromarray(pixels).save(folder.parent / f"{number + 8}.png")
    code = AUGMENTED.replace("{argument}", argument).replace("{augment}", augment)
    code = code.replace("{name}", argument.partition("=")[0]).replace("{body}", body)
    keys: dict[str, Any] = {"root": str(tmp_path), "normalize": "none"}
    if same:
        with pytest.raises(DataError, match=r"the same samples with .* as for training; .*data\."):
            load_user_dataset(tmp_path / "own.py", "Files", code, **keys)
    else:
        data = load_user_dataset(tmp_path / "own.py", "Files", code, **keys)
        assert data.train.samples_per_epoch == data.val.samples


SPLIT_BY_FUNCTION = """
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
def folder(root, train=True):
    steps = [v2.PILToTensor()] + [v2.RandomErasing(p=1)] * train
    whole = ImageFolder(root, v2.Compose(steps))
    return torch.utils.data.Subset(whole, {indices})
"""


@pytest.mark.parametrize("indices", ["range(0, 16)", "range(0, 16, 2) if train else range(1, 16, 2)"])
def test_subsets_differ_by_their_indices(indices: str, tmp_path: Path) -> None:
    for number in range(16):
        (tmp_path / "images" / str(number // 2 % 2)).mkdir(parents=True, exist_ok=True)
        file = tmp_path / "images" / str(number // 2 % 2) / f"{number:02}.png"
        Image.new("RGB", (8, 8), (number, 200, 9)).save(file)
    code = SPLIT_BY_FUNCTION.replace("{indices}", indices)
    keys: dict[str, Any] = {"root": str(tmp_path / "images"), "normalize": "none"}
    if "if" in indices:
        data = load_user_dataset(tmp_path / "own.py", "folder", code, **keys)
        assert data.train.samples_per_epoch == data.val.samples == 8
        return
    with pytest.raises(DataError, match=r"the same samples with train=False as for training"):
        load_user_dataset(tmp_path / "own.py", "folder", code, **keys)


IN_ARRAYS = """
import numpy as np
class Arrays(Dataset):
    def __init__(self, train=True):
        rng = np.random.default_rng(0 if {same} else int(train))
        self.x, self.y = rng.random((60, 4)), np.arange(60) % 3
        if train:
            order = rng.permutation(60)
            self.x, self.y = self.x[order], self.y[order]
    def __len__(self):
        return 60
    def __getitem__(self, i):
        return self.x[i], int(self.y[i])
def tensors(train=True):
    made = Arrays(train)
    return TensorDataset(torch.from_numpy(made.x), torch.from_numpy(made.y))
"""


@pytest.mark.parametrize("name", ["Arrays", "tensors"])
@pytest.mark.parametrize("same", [True, False])
def test_rows_of_numbers_are_the_same_in_another_order(name: str, same: bool, tmp_path: Path) -> None:
    code = IN_ARRAYS.replace("{same}", str(same))
    if same:
        with pytest.raises(DataError, match=r"the same samples with train=False as for training"):
            load_user_dataset(tmp_path / "own.py", name, code)
    else:
        assert load_user_dataset(tmp_path / "own.py", name, code).val.samples == 60


HIDDEN = """
class Made(Dataset):
    def __init__(self, is_training=True):
        self.start = 0 if is_training else {start}
        self.noise = is_training * {noise}
    def __len__(self):
        return 20
    def __getitem__(self, i):
        return torch.tensor([self.start + i + self.noise * float(torch.rand(()))]), i % 2
"""


@pytest.mark.parametrize(("start", "noise", "same"), [(0, 1, True), (0, 0, True), (50, 0, False)])
def test_samples_without_files_are_compared_by_reading_some(
    start: int, noise: int, same: bool, tmp_path: Path
) -> None:
    code = HIDDEN.replace("{start}", str(start)).replace("{noise}", str(noise))
    if not same:
        data = load_user_dataset(tmp_path / "own.py", "Made", code)
        assert data.train.samples_per_epoch == data.val.samples == 20
        return
    with pytest.raises(DataError, match=r"set data\.is_training to open one set and split it"):
        load_user_dataset(tmp_path / "own.py", "Made", code)
