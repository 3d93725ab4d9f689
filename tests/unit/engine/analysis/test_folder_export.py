"""A model in a folder of its own predicts like its run, in a process that cannot import torchconsole."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.noisy_images import write_noisy_images
from tests.support.other_machine import output_elsewhere, run_elsewhere
from tests.support.sessions import MakeSession, Session, ignore_phase
from torchconsole.engine.analysis.checkpoint_reports import evaluate_checkpoint
from torchconsole.engine.analysis.exports import export
from torchconsole.engine.analysis.folder_export import describe_for_folder
from torchconsole.engine.analysis.predictions import predict
from torchconsole.engine.analysis.standalone import reading
from torchconsole.engine.components.data import open_data
from torchconsole.engine.components.data.input_description import InputDescription
from torchconsole.engine.components.data.input_reading import InputReader
from torchconsole.engine.components.data.tables.number_format import GAPS
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.run.names import LAST

PIPED = """
import subprocess, sys
with subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=subprocess.PIPE, text=True) as process:
    print(process.stdout.readline(), end="")
    process.stdout.close()
"""
"""Runs a program, and closes its output after the first line."""

RESIZE = '[{name="Resize", size=[10, 10]}]'


def exported(run: Session, folder: Path) -> float:
    """Export the last checkpoint of a run to a folder, and return the run's own accuracy."""
    export(run.checkpoints / LAST, folder, "folder", "auto")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "input.json", "model.pt2", "predict.py", "reading.py")
    ]
    found = evaluate_checkpoint(run.checkpoints / LAST, "val", "auto").metrics["val/accuracy"]
    assert found is not None
    return found


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def share(correct: list[bool]) -> float:
    """The accuracy as torchmetrics computes it, in float32."""
    return (torch.tensor(sum(correct)).float() / len(correct)).item()


def test_images_have_the_accuracy_of_the_run(session: MakeSession, tmp_path: Path) -> None:
    root = tmp_path / "images"
    write_noisy_images(root)
    run = session(
        *("data.name=ImageFolder", f"data.root={root}", "data.batch_size=8", "training.epochs=2"),
        *(f"data.transforms.train={RESIZE}", f"data.transforms.val={RESIZE}", 'title="A | of cats"'),
    )
    run.trainer.run()
    expected = exported(run, tmp_path / "model")
    assert 0.5 < expected < 1
    moved = (root / "val").rename(tmp_path / "moved")
    (moved / "broken.png").write_text("no image")
    done = run_elsewhere("model/predict.py", "moved", "gone.png", cwd=tmp_path)
    assert done.returncode == 1
    assert [line.partition(": ")[2].partition(": ")[0] for line in done.stderr.splitlines()] == [
        *("moved/broken.png", "gone.png")
    ]
    found = rows(done.stdout)
    assert len(found) == 34
    assert share([each["class"] == Path(each["file"]).parent.name for each in found]) == expected
    assert all(0.5 <= float(each["probability"]) <= 1 for each in found)
    card = (tmp_path / "model" / "README.md").read_text()
    assert card.startswith("# A \\| of cats\n\n`MLP` with ")
    for part in ("Classes: cat, dog.", "Pillow, torchvision;", "| val/accuracy | 0.", "| training | 40 |"):
        assert part in card
    assert f"| exported with torch | {torch.__version__} |" in card
    assert str(root) not in card


def test_a_table_has_the_accuracy_of_the_run(session: MakeSession, tmp_path: Path) -> None:
    draw = random.Random(2)
    table = []
    for number in range(120):
        kind = draw.choice("ab")
        size = f"{draw.gauss(5 if kind == 'a' else 6, 1):.3f}" if number % 9 else ""
        table.append([size, f"rare{number}" if number % 30 == 0 else draw.choice(["red", "blue"]), kind])
    file = tmp_path / "data.csv"
    with file.open("w", newline="") as text:
        csv.writer(text).writerows([["size", "color", "target"], *table])
    own = (f"data.root={file}", "training.epochs=3", "data.categorical=['color']", "data.missing=mean")
    run = session(*own, preset="csv-classification")
    run.trainer.run()
    expected = exported(run, tmp_path / "model")
    preset = run.setup.preset
    val: Any = open_data(preset.data, preset.training, ignore_phase, UserCode.of(preset)).splits.val
    chosen = [table[index] for index in val.indices.tolist()]
    with (tmp_path / "new.csv").open("w", newline="") as text:
        csv.writer(text, delimiter=";").writerows(
            [["color", "size"], *([color, size] for size, color, _ in chosen)]
        )
    found = rows(output_elsewhere("model/predict.py", "new.csv", cwd=tmp_path))
    assert [each["row"] for each in found] == [str(number) for number in range(1, len(chosen) + 1)]
    pairs = zip(found, chosen, strict=True)
    assert share([each["class"] == row[2] for each, row in pairs]) == expected
    odd = {
        "odd": (
            "color,size\n\ngreen,5\n",
            "column 'color' has 'green' in line 3, which the model was not trained on",
        ),
        "word": ("color,size\nred,5\nred,x\n", "column 'size' has 'x' in line 3, which is not a number"),
        "less": ("kind\na\n", "it has no column 'size', 'color'"),
        "short": ("color,size\nred\n", "line 2 has 1 of 2 fields"),
        "empty": ("", "it is empty"),
    }
    for name, (content, _) in odd.items():
        (tmp_path / f"{name}.csv").write_text(content)
    done = run_elsewhere("model/predict.py", *(f"{name}.csv" for name in odd), cwd=tmp_path)
    assert done.stderr.splitlines() == [f"error: {name}.csv: {reason}" for name, (_, reason) in odd.items()]


def test_values_are_in_the_unit_of_the_targets(session: MakeSession, tmp_path: Path) -> None:
    run = session("training.epochs=2", preset="diabetes-regression")
    run.trainer.run()
    export(run.checkpoints / LAST, tmp_path / "model", "folder", "auto")
    np.savez(tmp_path / "new.npz", inputs=np.random.default_rng(0).normal(0, 0.05, (5, 10)))
    found = rows(output_elsewhere("model/predict.py", "new.npz", cwd=tmp_path))
    expected = predict(run.checkpoints / LAST, [str(tmp_path / "new.npz")], "auto").predictions
    values = [float(row["target 1"]) for row in found]
    assert values == pytest.approx([each.values[0] for each in expected])
    cells = [row["target 1"] for row in found]
    digits = [len(cell.replace(".", "")) for cell in cells]
    assert max(digits) in (8, 9), "float32 needs up to nine digits"
    assert all(25 < value < 346 for value in values), "the targets are from 25 to 346"
    np.savez(tmp_path / "other.npz", a=np.ones((2, 10)), b=np.ones(2))
    np.savez(tmp_path / "wide.npz", inputs=np.ones((2, 11)))
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    files = ("other.npz", "wide.npz", "text.csv", "gone.npz")
    assert run_elsewhere("model/predict.py", *files, cwd=tmp_path).stderr.splitlines() == [
        "error: other.npz: it has no array 'inputs' of shape (N, 10), but a, b",
        "error: wide.npz: an input has shape (11,), but the model takes (10,)",
        "error: text.csv: it is neither an .npz file nor a dictionary of torch.save",
        "error: gone.npz: [Errno 2] No such file or directory: 'gone.npz'",
    ]
    np.savez(tmp_path / "many.npz", inputs=np.zeros((30_000, 10)))  # more lines than a pipe holds
    piped = run_elsewhere("-c", PIPED, "model/predict.py", "many.npz", cwd=tmp_path)
    assert (piped.stdout, piped.stderr) == ("file,row,target 1\n", "")
    (tmp_path / "empty").mkdir()
    nothing = run_elsewhere("model/predict.py", "empty", cwd=tmp_path)
    assert (nothing.returncode, nothing.stderr) == (1, "error: no file for this model (arrays) in empty\n")
    assert "python predict.py" in run_elsewhere("model/predict.py", "--help", cwd=tmp_path).stderr


def test_texts_become_the_tokens_of_the_run(session: MakeSession, tmp_path: Path) -> None:
    for part, count in (("train", 20), ("val", 5)):
        for name, word in (("bad", "awful"), ("good", "Great")):
            (tmp_path / "texts" / part / name).mkdir(parents=True)
            for number in range(count):
                file = tmp_path / "texts" / part / name / f"{number}.txt"
                file.write_text(f"It was {word}, caf\u00e9 {number}!\r\n")
    own = (f"data.root={tmp_path / 'texts'}", "training.epochs=1", "data.max_length=6")
    run = session(*own, preset="text-classification")
    run.trainer.run()
    export(run.checkpoints / LAST, tmp_path / "model", "folder", "auto")
    val = tmp_path / "texts" / "val"
    found = rows(output_elsewhere("model/predict.py", val, cwd=tmp_path))
    expected = predict(run.checkpoints / LAST, [str(val)], "auto").predictions
    assert [row["class"] for row in found] == [each.classes[0] for each in expected]
    assert [float(row["probability"]) for row in found] == pytest.approx(
        [each.probabilities[0] for each in expected], abs=1e-6
    )
    os.mkfifo(val / "bad" / "pipe.txt")  # opening it would wait for a writer
    (val / "good" / "gone.txt").symlink_to("nowhere")
    (val / "good" / "folder.txt").mkdir()
    done = run_elsewhere("model/predict.py", "texts/val", cwd=tmp_path)
    assert rows(done.stdout) == [{**row, "file": os.path.relpath(row["file"], tmp_path)} for row in found]
    assert done.stderr.splitlines() == [
        "error: texts/val/bad/pipe.txt: not a regular file",
        "error: texts/val/good/gone.txt: [Errno 2] No such file or directory: 'texts/val/good/gone.txt'",
    ]


def test_the_bytes_are_those_of_the_files_written(session: MakeSession, tmp_path: Path) -> None:
    run = session("training.epochs=1", preset="iris-mlp")
    run.trainer.run()
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "other.bin").write_bytes(bytes(1000))
    (folder / "dangling").symlink_to("gone")
    report = export(run.checkpoints / LAST, folder, "folder", "auto")
    written = {path for path in folder.iterdir() if path.name not in ("other.bin", "dangling")}
    assert len(written) == 5
    assert report.bytes == sum(path.stat().st_size for path in written)


def description(**changes: Any) -> InputDescription:
    plain = {
        "kind": "images",
        "source": "ImageFolder",
        "arguments": {},
        "normalize": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]},
        "input_shape": [3, 9, 7],
        "task": "multiclass",
        "outputs": 2,
        "classes": ["a", "b"],
    }
    return InputDescription.model_validate(plain | changes)


def write_pictures(folder: Path) -> None:
    """Write images of many kinds: with an orientation, transparent, deep, of few colors, of other spaces."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (9, 7, 4), dtype=np.uint8)
    rgba, rgb = Image.fromarray(pixels), Image.fromarray(pixels[..., :3])
    light = Image.fromarray(np.where([True, True, True, False], 250 + pixels % 6, pixels))
    upside = Image.Exif()
    upside[0x0112] = 6
    rgba.save(folder / "rgba.png")
    light.save(folder / "light.png")
    rgba.convert("LA").save(folder / "la.png")
    rgb.convert("P").save(folder / "palette.png", transparency=3)
    rgb.convert("1").save(folder / "bits.png")
    rgb.convert("L").save(folder / "grey.png")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    for name in ("turned.jpg", "turned.tiff", "turned.png"):
        rgb.save(folder / name, exif=upside)
    Image.fromarray(draw.integers(0, 65536, (9, 7), dtype=np.uint16)).save(folder / "deep.png")
    Image.fromarray(draw.random((9, 7), dtype=np.float32)).save(folder / "floats.tiff")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"deep_images": True},
        {"normalize": "none"},
        {"source": "MNIST", "input_shape": [1, 9, 7], "normalize": {"mean": [0.4], "std": [0.2]}},
        {
            "transforms": [
                {"name": "Resize", "size": 6, "interpolation": "bicubic"},
                {"name": "CenterCrop", "size": [4, 4]},
                {"name": "ToTensor"},
            ]
        },
        {
            "transforms": [{"name": "Grayscale"}, {"name": "ToDtype", "dtype": "float32", "scale": True}],
            "normalize": {"mean": [0.4], "std": [0.2]},
        },
    ],
)
def test_images_are_prepared_like_by_the_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_pictures(tmp_path)
    described = description(**changes)
    reader, about = InputReader(described, UserCode()), json.loads(described.model_dump_json())
    for file in sorted(tmp_path.iterdir()):
        [expected] = reader.read(file)
        assert torch.equal(reading.read(file, about)[0], expected.tensor), file.name


@pytest.mark.parametrize(
    ("dtype", "shape", "changes"),
    [
        ("float64", (5, 3), {}),
        ("float32", (5, 3), {}),
        ("int64", (5, 3), {}),
        ("int64", (5, 3), {"normalize": "none"}),
        ("bool", (5, 3), {}),
        ("uint16", (5, 3), {}),
        ("float64", (5, 6, 3), {}),
        ("float32", (5, 3, 4, 4), {}),
        ("uint8", (5, 8, 9, 3), {}),
        ("uint8", (5, 3, 8, 8), {"transforms": [{"name": "Resize", "size": [4, 4]}]}),
        ("float64", (5, 3), {"source": "iris"}),
    ],
)
def test_arrays_are_prepared_like_by_the_run(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], changes: dict[str, Any]
) -> None:
    described = description(**({"kind": "arrays", "source": "NPZ"} | changes))
    file = tmp_path / "a.npz"
    np.savez(file, inputs=(np.random.default_rng(1).random(shape) * 200).astype(dtype))
    expected = [each.tensor for each in InputReader(described, UserCode()).read(file)]
    assert torch.equal(reading.read(file, json.loads(described.model_dump_json())), torch.stack(expected))


@pytest.mark.parametrize("kind", ["images", "arrays", "npz", "table"])
def test_a_pipe_that_is_named_is_read_like_a_file(tmp_path: Path, kind: str) -> None:
    file, pipe = tmp_path / "a", tmp_path / "pipe"
    changes: dict[str, Any] = {"kind": "arrays" if kind == "npz" else kind}
    if kind == "images":
        Image.fromarray(np.arange(189, dtype=np.uint8).reshape(9, 7, 3)).save(file, "png")
    elif kind == "arrays":
        torch.save({"inputs": torch.rand(5, 3)}, file)
        changes["source"] = "Tensors"
    elif kind == "npz":
        with file.open("wb") as stream:
            np.savez(stream, inputs=np.random.default_rng(1).random((5, 3)))
        changes["source"] = "NPZ"
    else:
        file.write_text('size;"weight"\n1;2\n3;4\n', encoding="utf-8-sig")
        features = [{"name": name, "kind": "numeric"} for name in ("size", "weight")]
        changes |= {"source": "CSV", "features": features, "normalize": "none", "input_shape": [2]}
    about = json.loads(description(**changes).model_dump_json())
    expected = reading.read(file, about)
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[file.read_bytes()], daemon=True)
    writer.start()
    assert torch.equal(reading.read(pipe, about), expected)
    writer.join()


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ([1, 2], "list"),
        (torch.tensor(1.0), "shape ()"),
        (torch.zeros(0, 3), "shape (0, 3)"),
        (np.array(["a"]), "<U1"),
    ],
)
def test_what_is_no_array_of_numbers_is_named(tmp_path: Path, inputs: Any, found: str) -> None:
    about = json.loads(description(kind="arrays", source="NPZ", input_shape=[3]).model_dump_json())
    file = tmp_path / "a.npz"
    if isinstance(inputs, np.ndarray):
        np.savez(file, inputs=inputs)
    else:
        file = tmp_path / "a.pt"
        torch.save({"inputs": inputs}, file)
    with pytest.raises(ValueError, match="'inputs' must be an array of numbers of shape") as caught:
        reading.read(file, about)
    assert str(caught.value).endswith(f"of shape (N, 3), but it is of {found}")


def test_without_numpy_the_advice_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", inputs=np.ones((2, 3)))
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ValueError, match="install numpy"):
        reading.load_arrays(tmp_path / "a.npz")


def test_what_means_no_number_is_the_same() -> None:
    assert reading.GAPS == GAPS


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        (
            'data.transforms.val=[{name="RandomCrop", size=4}]',
            "data.transforms.val.0: RandomCrop is not carried",
        ),
        ("data.name=own.py:Mine", "own.py:Mine is your own code, which decides how a sample is read"),
        ("data.name=DatasetFolder", "data.name: DatasetFolder is not read"),
        ("data={name='Parquet', target='y'}", "data.name: Parquet is not read"),
        ("data={name='CSV', target='y', decimal=','}", "data.decimal is not carried"),
    ],
)
def test_what_the_scripts_cannot_do_is_refused_by_name(
    session: MakeSession, override: str, reason: str
) -> None:
    record = session().setup.data.record.model_dump()
    with pytest.raises(CheckpointError) as caught:
        describe_for_folder({"data": record}, load_preset("digits-mlp", [override]), Path())
    assert str(caught.value) == (
        f"--format folder: predict.py cannot prepare the inputs of this run: {reason}; export the model with "
        "--format torch.export, and prepare its inputs in your own program"
    )
