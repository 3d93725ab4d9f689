"""Predictions from files agree with the run's own evaluation, without the run's data."""

from __future__ import annotations

import csv
import json
import random
import shutil
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from tests.support.program_user import User
from torchconsole.engine.components.data import open_data
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.loading import read_preset

IMAGES = """
title = "Images"
[data]
name = "ImageFolder"
root = "{root}"
transforms.val = [{{ name = "Resize", size = [10, 10] }}]
transforms.train = [{{ name = "Resize", size = [10, 10] }}]
[model]
name = "MLP"
hidden = [8]
[training]
epochs = 2
"""


def accuracy(user: User, run: str) -> float:
    done = user.run("evaluate", run, "--json")
    assert done.returncode == 0, done.stderr
    found: float = json.loads(done.stdout)["metrics"]["val/accuracy"]
    return found


def share(correct: list[bool]) -> float:
    """The accuracy as torchmetrics computes it, in float32."""
    return (torch.tensor(sum(correct)).float() / len(correct)).item()


@pytest.fixture
def images(user: User) -> tuple[str, Path]:
    """A run on noisy images of two classes, and the folder of its validation images."""
    draw = random.Random(1)
    root = user.folder / "images"
    for part, count in (("train", 20), ("val", 17)):
        for name, level in (("cat", 110), ("dog", 130)):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                size = (12 + number % 3, 12)
                pixels = bytes(min(255, max(0, int(draw.gauss(level, 90)))) for _ in range(3 * size[0] * 12))
                Image.frombytes("RGB", size, pixels).save(root / part / name / f"{number}.png")
    user.write_preset("images", IMAGES.format(root=root))
    done = user.run("train", "images", "--headless")
    assert done.returncode == 0, done.stderr
    return user.runs()[0], root / "val"


def test_images_have_the_accuracy_of_the_run(user: User, images: tuple[str, Path]) -> None:
    run, val = images
    expected = accuracy(user, run)
    moved = user.folder / "elsewhere"
    val.rename(moved)
    shutil.rmtree(user.folder / "images")
    (moved / "broken.png").write_text("no image")
    done = user.run("predict", run, "elsewhere", "gone.png", "--top", "2", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert [Path(each["file"]).name for each in report["failed"]] == ["broken.png", "gone.png"]
    assert "error: gone.png: there is no such file" in done.stderr
    found = report["predictions"]
    assert len(found) == 34
    assert share([each["classes"][0] == Path(each["file"]).parent.name for each in found]) == expected
    assert all(abs(sum(each["probabilities"]) - 1) < 1e-6 for each in found)
    shown = user.run("predict", run, "elsewhere/cat/0.png")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "elsewhere/cat/0.png" in shown.stdout
    with (moved / "dog" / "3.png").open("rb") as file:
        piped = user.run("predict", run, "-", "elsewhere/dog/3.png", "--json", stdin=file)
    one, other = json.loads(piped.stdout)["predictions"]
    assert (one["file"], one["row"]) == ("-", None)
    assert one["probabilities"] == other["probabilities"]
    listed = user.run("features", run, "--list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.splitlines()[0].split() == ["LAYER", "TYPE", "OUTPUT"]
    last = listed.stdout.splitlines()[-1].split()
    assert last[1:] == ["Linear", "2"]
    written = user.run("features", run, "elsewhere/dog/3.png", "gone.png", "--layer", last[0], "-o", "f.npz")
    assert written.returncode == 1
    assert written.stderr == "error: gone.png: there is no such file\n"
    with numpy.load(user.folder / "f.npz") as features:
        assert features["paths"].tolist() == [str(moved / "dog" / "3.png")]
        logits = torch.from_numpy(features[last[0]])
    by_class = dict(zip(other["classes"], other["probabilities"], strict=True))
    [(name, probability)] = by_class.items()
    assert logits.softmax(1)[0][["cat", "dog"].index(name)].item() == pytest.approx(probability)
    described = json.loads((user.runs_dir / run / "input.json").read_text())
    assert described["classes"] == ["cat", "dog"]


def test_a_table_has_the_accuracy_of_the_run(user: User) -> None:
    draw = random.Random(2)
    rows = []
    for number in range(120):
        kind = draw.choice("ab")
        size, color = draw.gauss(5 if kind == "a" else 6, 1), draw.choice(["red", "blue"])
        rows.append([f"{size:.3f}" if number % 9 else "", color, kind])
    for number in range(0, 120, 30):
        rows[number][1] = f"rare{number}"
    file = user.folder / "data.csv"
    with file.open("w", newline="") as text:
        csv.writer(text).writerows([["size", "color", "target"], *rows])
    options = ("--set", f"data.root={file}", "--set", "training.epochs=3", "--headless")
    done = user.run("train", "csv-classification", *options, "--set", "data.categorical=['color']")
    assert done.returncode == 0, done.stderr
    [run] = user.runs()
    expected = accuracy(user, run)
    preset = read_preset(user.runs_dir / run / "preset.toml")
    val = open_data(preset.data, preset.training, lambda phase: None, UserCode.of(preset)).splits.val
    assert val is not None
    indices = val.indices  # type: ignore[attr-defined]
    file.unlink()
    chosen = [rows[index] for index in indices.tolist()]
    with (user.folder / "new.csv").open("w", newline="") as text:
        csv.writer(text).writerows([["color", "size"], *([color, size] for size, color, _ in chosen)])
    done = user.run("predict", run, "new.csv", "--csv", "out.csv")
    assert done.returncode == 0, done.stderr
    with (user.folder / "out.csv").open(newline="") as text:
        found = list(csv.DictReader(text))
    assert [each["row"] for each in found] == [str(number) for number in range(1, len(chosen) + 1)]
    assert [each["line"] for each in found] == [str(number) for number in range(2, len(chosen) + 2)]
    pairs = zip(found, chosen, strict=True)
    assert share([each["class"] == row[2] for each, row in pairs]) == expected
    shown = user.run("predict", run, "new.csv").stdout.splitlines()
    assert [line.split()[:3] for line in shown[2:4]] == [["new.csv", "line", "2"], ["new.csv", "line", "3"]]
    with (user.folder / "new.csv").open() as text:
        piped = user.run("predict", run, "-", "--csv", "piped.csv", stdin=text)
    assert piped.returncode == 0, piped.stderr
    with (user.folder / "piped.csv").open(newline="") as text:
        assert list(csv.DictReader(text)) == [{**each, "file": "-"} for each in found]


WORDS = {
    "good": "great lovely superb fine",
    "bad": "awful dull boring poor",
    "": "the film was a story of it",
}


def text_of(draw: random.Random, kind: str) -> str:
    words = [*WORDS[kind].split(), *WORDS[""].split(), *WORDS[draw.choice(["good", "bad"])].split()]
    return " ".join(draw.choice(words) for _ in range(draw.randint(3, 12)))


def test_texts_have_the_accuracy_of_the_run(user: User) -> None:
    draw = random.Random(3)
    for part, count in (("train", 40), ("val", 30)):
        for kind in ("good", "bad"):
            folder = user.folder / "texts" / part / kind
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.txt").write_text(text_of(draw, kind))
    done = user.run("train", "text-classification", "--set", "training.epochs=3", "--headless")
    assert done.returncode == 0, done.stderr
    [run] = user.runs()
    expected = accuracy(user, run)
    (user.folder / "texts" / "val").rename(user.folder / "new")
    shutil.rmtree(user.folder / "texts")
    done = user.run("predict", run, "new", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["predictions"]
    assert len(found) == 60
    assert share([each["classes"][0] == Path(each["file"]).parent.name for each in found]) == expected
    lines = user.folder / "lines"
    lines.write_text("".join(Path(each["file"]).read_text() + "\n" for each in found[:5]) + "\n")
    with lines.open() as text:
        done = user.run("predict", run, "-", "--json", stdin=text)
    by_line = json.loads(done.stdout)["predictions"]
    assert [(each["row"], each["line"]) for each in by_line] == [(n, n) for n in range(1, 7)]
    for one, other in zip(by_line, found[:5], strict=False):
        assert one["classes"] == other["classes"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
    done = user.run("predict", run, "-", "-")
    assert done.returncode == 2
    assert "standard input can be read once only" in done.stderr
    (user.folder / "image.txt").write_bytes(b"\xff\xd8\x80")
    done = user.run("predict", run, "image.txt")
    assert done.returncode == 1
    assert "error: image.txt: it is not utf-8 text; convert it" in done.stderr


def test_a_column_of_texts_is_read_as_in_the_run(user: User) -> None:
    draw = random.Random(4)
    rows = [(text_of(draw, kind), kind) for kind in draw.choices(["good", "bad"], k=90)]
    with (user.folder / "data.csv").open("w", newline="") as text:
        csv.writer(text).writerows([("review", "kind"), *rows])
    keys = ("name=CSV", "root=data.csv", "text=review", "target=kind", "tokenizer=characters")
    options = [part for key in keys for part in ("--set", f"data.{key}")]
    done = user.run("train", "text-classification", *options, "--set", "training.epochs=1", "--headless")
    assert done.returncode == 0, done.stderr
    [run] = user.runs()
    (user.folder / "data.csv").unlink()
    with (user.folder / "new.csv").open("w", newline="") as text:
        csv.writer(text).writerows([("number", "review"), *((1, text) for text, _ in rows[:4])])
    done = user.run("predict", run, "new.csv", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["predictions"]
    assert [(each["row"], each["line"]) for each in found] == [(1, 2), (2, 3), (3, 4), (4, 5)]
    lines = user.folder / "lines"
    lines.write_text("\n".join(text for text, _ in rows[:4]))
    with lines.open() as text:
        done = user.run("predict", run, "-", "--json", stdin=text)
    by_line = json.loads(done.stdout)["predictions"]
    assert [each["probabilities"] for each in by_line] == [each["probabilities"] for each in found]
    (user.folder / "gap.csv").write_text('review\ngreat\n""\ndull\n')
    (user.folder / "other.csv").write_text("reviews\ngreat\n")
    done = user.run("predict", run, "gap.csv", "other.csv", "new.csv", "--json")
    assert done.returncode == 1
    assert "error: gap.csv: column 'review' of gap.csv has no value in line 3" in done.stderr
    assert "error: other.csv: it has no column 'review', did you mean 'reviews'?" in done.stderr
    assert len(json.loads(done.stdout)["predictions"]) == 4


def test_own_data_is_refused_in_one_line(user: User) -> None:
    (user.folder / "own.py").write_text(
        "import torch\n"
        "def make():\n"
        "    return torch.utils.data.TensorDataset(torch.randn(40, 4), torch.arange(40) % 2)\n"
    )
    own = ("--set", "data.name=own.py:make", "--set", "training.epochs=1", "--trust", "--headless")
    done = user.run("train", "digits-mlp", *own)
    assert done.returncode == 0, done.stderr
    done = user.run("predict", user.runs()[0], "own.py", "--trust")
    assert done.returncode == 2
    assert "predict cannot read inputs of this run: " in done.stderr
    assert len(done.stderr.splitlines()) == 1
