"""Predictions average over flips, and show their images, where the inputs are images."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.support.sessions import MakeSession
from torchconsole.engine.analysis.other_data import evaluate_on
from torchconsole.engine.analysis.predictions import PICTURE_SIDE, predict
from torchconsole.engine.analysis.report import export_report
from torchconsole.engine.errors import CheckpointError, DataError
from torchconsole.engine.protocol.model_reports import Picture, PredictionReport
from torchconsole.engine.run.names import LAST


def trained(session: MakeSession, **options: str) -> Path:
    """The checkpoint of a run of one epoch."""
    done = session("training.epochs=1", **options)
    done.trainer.run()
    return done.checkpoints / LAST


def save(file: Path, images: np.ndarray) -> str:
    np.savez(file, inputs=images)
    return str(file)


def test_flips_are_the_mean_over_the_image_and_its_mirror_image(session: MakeSession, tmp_path: Path) -> None:
    checkpoint = trained(session)
    digits = np.random.default_rng(1).random((5, 1, 8, 8), dtype=np.float32)
    files = [save(tmp_path / "a.npz", digits), save(tmp_path / "b.npz", digits[..., ::-1])]
    found = [
        [
            dict(zip(each.classes, each.probabilities, strict=True))
            for each in predict(checkpoint, [file], "auto", "cpu", top=10, flips=flips).predictions
        ]
        for file, flips in ((files[0], False), (files[1], False), (files[0], True), (files[1], True))
    ]
    assert found[0] != found[1]
    for plain, mirrored, mean, same in zip(*found, strict=True):
        assert mean == pytest.approx({name: (plain[name] + mirrored[name]) / 2 for name in plain}, abs=1e-6)
        assert mean == pytest.approx(same, abs=1e-6)


def test_without_images_flips_and_pictures_are_refused(session: MakeSession, tmp_path: Path) -> None:
    checkpoint = trained(session, preset="iris-mlp")
    file = save(tmp_path / "a.npz", np.ones((2, 4)))
    with pytest.raises(DataError, match=r"--tta flips: needs images, .* on arrays of shape \(4,\)"):
        predict(checkpoint, [file], "auto", "cpu", flips=True)
    with pytest.raises(DataError, match="--pictures: needs images"):
        predict(checkpoint, [file], "auto", "cpu", pictures=True)


def pixels(picture: Picture | None) -> np.ndarray:
    assert picture is not None
    flat = np.frombuffer(base64.b64decode(picture.pixels), np.uint8)
    return flat.reshape(picture.height, picture.width, 3)


def test_pictures_are_the_images_as_they_were_read(session: MakeSession, tmp_path: Path) -> None:
    checkpoint = trained(session)
    digits = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    wide = np.zeros((1, 1, 8, 8), np.float32)
    wide[0, 0, 0, 0], wide[0, 0, 7, 7] = -3, 5
    report = predict(
        checkpoint,
        [save(tmp_path / "a.npz", digits), save(tmp_path / "b.npz", wide)],
        "auto",
        "cpu",
        pictures=True,
    )
    first, second = (pixels(each.picture) for each in report.predictions)
    assert (first == (255 * digits[0, 0]).round().astype(np.uint8)[..., None]).all()
    assert (second[0, 0, 0], second[7, 7, 0], second[3, 3, 0]) == (0, 255, round(255 * 3 / 8))
    assert PICTURE_SIDE >= 8
    plain = predict(checkpoint, [str(tmp_path / "a.npz")], "auto", "cpu")
    assert [each.picture for each in plain.predictions] == [None]


def exported(checkpoint: Path, file: Path) -> Path:
    export_report(str(checkpoint), str(file), "safetensors", "auto")
    return file


@pytest.mark.parametrize("model", [("model.name=SimpleCNN",), ("model.name=resnet18",)])
def test_an_export_predicts_as_its_run(session: MakeSession, tmp_path: Path, model: tuple[str, ...]) -> None:
    done = session(*model, "training.epochs=1", "model.hidden=", "model.dropout=", "data.limit=64")
    done.trainer.run()
    file = exported(done.checkpoints / LAST, tmp_path / "a.safetensors")
    digits = save(tmp_path / "a.npz", np.random.default_rng(1).random((3, 1, 8, 8), dtype=np.float32))
    by_run = predict(done.checkpoints / LAST, [digits], "auto", "cpu", top=10)
    by_export = predict(file, [digits], "auto", "cpu", top=10)
    assert by_export.predictions == by_run.predictions
    assert (by_export.checkpoint, by_export.step, by_export.epoch) == (str(file), by_run.step, None)
    with pytest.raises(CheckpointError, match="an export has one set of weights; remove --weights ema"):
        predict(file, [digits], "ema", "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"torchconsole.preset": None}, "its metadata has no preset"),
        ({"torchconsole.input": None}, "does not say how inputs are prepared"),
        ({"torchconsole.input": "{}"}, "its metadata cannot be read"),
        ({"torchconsole.preset": "[["}, "the preset in its metadata is damaged"),
        (None, "not a safetensors file"),
    ],
)
def test_a_file_from_which_no_model_can_be_built_is_refused(
    session: MakeSession, tmp_path: Path, change: dict[str, str | None] | None, message: str
) -> None:
    file = exported(trained(session), tmp_path / "a.safetensors")
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata() | (change or {})
    save_file(tensors, file, {name: text for name, text in metadata.items() if text is not None})
    if change is None:
        file.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match=message):
        predict(file, [], "auto", "cpu")


def test_numbers_that_are_not_finite_are_none(session: MakeSession, tmp_path: Path) -> None:
    checkpoint = trained(session)
    images = np.full((2, 1, 8, 8), 3e38, dtype=np.float32)
    images[1] = 0
    report = predict(checkpoint, [save(tmp_path / "a.npz", images)], "auto", "cpu", top=2)
    read = PredictionReport.model_validate_json(report.model_dump_json())
    assert read.predictions[0].probabilities == [None, None]
    assert None not in read.predictions[1].probabilities


@pytest.mark.parametrize("kind", ["arrays", "table"])
def test_a_pipe_that_is_named_is_read_once(session: MakeSession, tmp_path: Path, kind: str) -> None:
    if kind == "table":
        file = tmp_path / "data.csv"
        file.write_text("size,kind\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(60)))
        done = session(
            "training.epochs=1", f"data.root={file}", "data.target=kind", preset="csv-classification"
        )
        done.trainer.run()
        checkpoint = done.checkpoints / LAST
    else:
        checkpoint = trained(session)
        file = Path(save(tmp_path / "a.npz", np.zeros((2, 1, 8, 8), dtype=np.float32)))
    content, expected = file.read_bytes(), predict(checkpoint, [str(file)], "auto", "cpu")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[content], daemon=True)
    writer.start()
    report = predict(checkpoint, [str(pipe)], "auto", "cpu")
    writer.join()
    assert report.failed == []
    assert [(each.classes, each.row) for each in report.predictions] == [
        (each.classes, each.row) for each in expected.predictions
    ]
    with pytest.raises(DataError, match="a pipe can be read once only"):
        evaluate_on(checkpoint, pipe, "auto", "cpu")


def test_a_fifo_in_a_folder_is_reported(session: MakeSession, tmp_path: Path) -> None:
    texts, new = tmp_path / "texts", tmp_path / "new"
    for part in ("train", "val"):
        for name in ("bad", "good"):
            (texts / part / name).mkdir(parents=True)
            (texts / part / name / "a.txt").write_text(f"it was {name}")
    done = session("training.epochs=1", f"data.root={texts}", preset="text-classification")
    done.trainer.run()
    new.mkdir()
    (new / "b.txt").write_text("it was good")
    os.mkfifo(new / "a.txt")  # opening it would wait for a writer
    report = predict(done.checkpoints / LAST, [str(new)], "auto", "cpu")
    assert [Path(each.file).name for each in report.predictions] == ["b.txt"]
    assert [(Path(each.file).name, each.reason) for each in report.failed] == [
        ("a.txt", "it cannot be read: OSError: [Errno 22] not a regular file")
    ]


TAKES = "this run takes .npz files, and files of torch.save, with an array 'inputs' of shape (N, 4)"


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"a": np.ones((3, 4)), "b": np.ones(3)}, f"it has no array 'inputs', but a, b; {TAKES}"),
        ({}, f"it has no array 'inputs', but no array; {TAKES}"),
        ({"inputs": np.ones((2, 7))}, f"expected inputs of shape (4,), got (7,); {TAKES}"),
        ({"inputs": np.ones((2, 7), np.float32)}, f"expected inputs of shape (4,), got (7,); {TAKES}"),
        ({"inputs": np.ones((2, 8, 8), np.float32)}, f"expected inputs of shape (4,), got (8, 8); {TAKES}"),
        ({"inputs": np.ones((2, 8, 8), np.uint8)}, f"expected inputs of shape (4,), got (1, 8, 8); {TAKES}"),
        ({"inputs": np.ones(4)}, f"array 'inputs' has shape (4,); {TAKES}"),
        ({"inputs": np.array(["a"])}, "inputs: expected an array of numbers, got <U1; convert it to numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_what_is_wanted(
    session: MakeSession, tmp_path: Path, arrays: dict[str, np.ndarray], reason: str
) -> None:
    checkpoint = trained(session, preset="iris-mlp")
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    (failed,) = predict(checkpoint, [str(tmp_path / "a.npz")], "auto", "cpu").failed
    assert failed.reason.removesuffix(f"; {TAKES}") == reason.removesuffix(f"; {TAKES}")
    if TAKES in reason:
        assert failed.reason.endswith(TAKES)


def test_other_files_are_refused_with_what_the_run_takes(session: MakeSession, tmp_path: Path) -> None:
    checkpoint = trained(session, preset="iris-mlp")
    folder, module, text = tmp_path / "folder", tmp_path / "module.pt", tmp_path / "a.csv"
    folder.mkdir()
    torch.save(torch.nn.Linear(2, 2), module)
    text.write_text("a,b\n1,2\n", encoding="utf-8")
    failed = predict(checkpoint, [*map(str, (folder, module, text))], "auto", "cpu").failed
    assert [each.reason for each in failed] == [
        f"it is a folder; {TAKES}",
        f"cannot read arrays: not a dictionary of tensors that torch.save has written; {TAKES}",
        f"cannot read arrays: not an .npz file; {TAKES}",
    ]


def test_of_images_the_wrong_shape_is_said_without_torchs_words(session: MakeSession, tmp_path: Path) -> None:
    """A convolution names its weight; a pooling the size of what came before it."""
    checkpoint = trained(session)
    shapes = [(3, 8, 8), (1, 2, 2), (4,)]
    files = [
        save(tmp_path / f"{number}.npz", np.zeros((2, *shape), np.float32))
        for number, shape in enumerate(shapes)
    ]
    failed = predict(checkpoint, files, "auto", "cpu").failed
    assert [each.reason.partition("; ")[0] for each in failed] == [
        f"expected inputs of shape (1, 8, 8) (channels, height, width), got {shape}" for shape in shapes
    ]
