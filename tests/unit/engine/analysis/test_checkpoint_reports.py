"""Checkpoints can be exported as files for other programs, and evaluated on each part of the data."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.support.fake_checkpoints import flip_a_bit
from tests.support.sessions import MakeSession
from torchconsole.engine.analysis.checkpoint_reports import evaluate_checkpoint, read_current
from torchconsole.engine.analysis.exports import export
from torchconsole.engine.components.models.weights import read_state
from torchconsole.engine.config.data_schema import TargetScaleConfig
from torchconsole.engine.errors import CheckpointError, DataError, PresetError, RunError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.run.checkpoints import Manifest
from torchconsole.engine.run.names import BEST, LAST
from torchconsole.engine.training.checkpoint import read_checkpoint, write_checkpoint


@pytest.fixture
def trained(session: MakeSession) -> Path:
    """The checkpoints of a run of two epochs with a test set."""
    done = session("training.epochs=2", "data.test_split=0.1")
    done.trainer.run()
    return done.checkpoints


def with_changes(checkpoints: Path, **changes: Any) -> Path:
    """Write another checkpoint with changes in its state."""
    state = read_checkpoint(checkpoints / LAST) | changes
    manifest = Manifest(step=99, epoch=2, revision=0, kept=False, metrics={})
    return write_checkpoint(checkpoints, state, manifest)


@pytest.mark.parametrize(("form", "name"), [("state_dict", "a.pt"), ("safetensors", "a.safetensors")])
def test_an_exported_file_contains_the_weights(trained: Path, tmp_path: Path, form: Any, name: str) -> None:
    report = export(trained / BEST, tmp_path / name, form, "auto")
    expected = read_checkpoint(trained / BEST)["model"]
    found = read_state(tmp_path / name)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert (report.step, report.tensors, report.averaged) == (40, 6, False)
    assert report.bytes == (tmp_path / name).stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [name]


@pytest.mark.parametrize("umask", [0o002, 0o027, 0o077])
@pytest.mark.parametrize("form", ["state_dict", "safetensors"])
def test_an_exported_file_has_the_mode_that_the_umask_allows(
    trained: Path, tmp_path: Path, form: Any, umask: int
) -> None:
    before = os.umask(umask)
    try:
        for _ in range(2):
            export(trained / BEST, tmp_path / "weights", form, "auto")
            assert stat.S_IMODE((tmp_path / "weights").stat().st_mode) == 0o666 & ~umask
    finally:
        os.umask(before)


def test_an_exported_state_dict_can_be_loaded(trained: Path, tmp_path: Path, session: MakeSession) -> None:
    export(trained / BEST, tmp_path / "a.pt", "state_dict", "auto")
    model = session().setup.model
    model.load_state_dict(torch.load(tmp_path / "a.pt", weights_only=True))


def test_the_metadata_of_a_safetensors_file_describes_the_training(trained: Path, tmp_path: Path) -> None:
    report = export(trained / BEST, tmp_path / "a.safetensors", "safetensors", "auto")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert report.normalize is not None
    assert json.loads(metadata["torchconsole.normalize"]) == report.normalize
    assert 0.2 < report.normalize["mean"][0] < 0.4
    assert 'name = "digits"' in metadata["torchconsole.preset"]
    assert json.loads(metadata["torchconsole.data"]) == {
        "task": "multiclass",
        "input_shape": [1, 8, 8],
        "classes": [str(digit) for digit in range(10)],
        "outputs": "logits",
    }
    assert metadata["torchconsole.step"] == "40"
    assert json.loads(metadata["torchconsole.metrics"]).keys() >= {"val/loss", "val/accuracy"}


def test_tied_and_strided_weights_can_be_exported(trained: Path, tmp_path: Path) -> None:
    kernel = torch.arange(6.0).reshape(2, 3).t()
    weights = {"a": kernel, "b": kernel.clone(), "c": kernel[:, :1]}
    checkpoint = with_changes(trained, model=weights, tied={"b": "a"})
    report = export(checkpoint, tmp_path / "a.safetensors", "safetensors", "auto")
    assert report.tied == {"b": "a"}
    assert report.params == 9
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert sorted(file.keys()) == ["a", "c"]
    state = read_state(tmp_path / "a.safetensors")
    assert torch.equal(state["b"], kernel)
    assert state["a"].is_contiguous()


def test_ema_weights_are_preferred(trained: Path, tmp_path: Path) -> None:
    average = {"a": torch.zeros(2)}
    checkpoint = with_changes(trained, ema={"module": average})
    report = export(checkpoint, tmp_path / "a.pt", "state_dict", "auto")
    assert (report.averaged, read_state(tmp_path / "a.pt").keys()) == (True, average.keys())
    assert read_state(checkpoint).keys() == average.keys()
    assert not export(checkpoint, tmp_path / "b.pt", "state_dict", "model").averaged
    with pytest.raises(CheckpointError, match="has no EMA weights; use --weights model"):
        export(trained / BEST, tmp_path / "c.pt", "state_dict", "ema")


@pytest.mark.parametrize(("form", "name"), [("state_dict", "a.pt"), ("safetensors", "a.safetensors")])
def test_a_file_that_cannot_be_written_is_reported(
    trained: Path, tmp_path: Path, form: Any, name: str
) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        export(trained / BEST, tmp_path / "none" / name, form, "auto")


def test_a_damaged_checkpoint_is_reported_with_the_newest_valid_one_before_it(trained: Path) -> None:
    flip_a_bit(trained / LAST)
    with pytest.raises(
        CheckpointError, match=r"step-00000040/state.pt: is damaged.*before it: .*step-00000020"
    ):
        read_current(trained / LAST)


def test_an_evaluation_equals_that_of_the_training(session: MakeSession) -> None:
    done = session("training.epochs=1")
    done.trainer.run()
    [evaluation] = done.event_queue.of(ev.EvaluationCompleted)
    report = evaluate_checkpoint(done.checkpoints / LAST, "val", "auto")
    assert report.metrics == evaluation.metrics
    assert (report.step, report.epoch, report.part, report.samples) == (23, 1, "val", 360)
    assert len(report.tables["val/confusion_matrix"]) == len(report.classes) == 10


@pytest.mark.parametrize(("part", "samples"), [("test", 180), ("train", 1257)])
def test_metrics_are_named_after_the_part_of_the_data(trained: Path, part: Any, samples: int) -> None:
    report = evaluate_checkpoint(trained / BEST, part, "auto")
    assert report.samples == samples
    assert {name.partition("/")[0] for name in report.metrics} == {part}
    assert sum(map(sum, report.tables[f"{part}/confusion_matrix"])) == samples


def test_the_training_set_is_evaluated_without_augmentation(session: MakeSession) -> None:
    erase = 'data.transforms.train=[{name="RandomErasing",p=1.0,scale=[0.9,0.9]}]'
    plain, erased = session("training.epochs=1"), session("training.epochs=1", erase)
    erased.setup.model.load_state_dict(plain.setup.model.state_dict())
    losses = []
    for number, each in enumerate((plain, erased)):
        each.state.progress.step = number
        each.manager.save("command")
        each.manager.flush()
        folder = each.checkpoints / f"step-{number:08}"
        losses.append(evaluate_checkpoint(folder, "train", "auto").metrics["train/loss"])
    assert losses[0] == pytest.approx(losses[1])


def test_an_impossible_evaluation_is_reported(session: MakeSession) -> None:
    done = session("training.epochs=1")
    done.trainer.run()
    with pytest.raises(DataError, match=r"has no test set.*use --part val"):
        evaluate_checkpoint(done.checkpoints / LAST, "test", "auto")
    with pytest.raises(PresetError, match=r"^--set training.device=gpu: training.device: must be auto, cpu"):
        evaluate_checkpoint(done.checkpoints / LAST, "val", "auto", "gpu")


def test_a_regression_is_evaluated_and_exported_with_the_scale_of_its_targets(
    session: MakeSession, tmp_path: Path
) -> None:
    run = session("training.epochs=2", preset="diabetes-regression")
    run.trainer.run()
    [started], evaluated = run.event_queue.of(ev.RunStarted), run.event_queue.of(ev.EvaluationCompleted)
    assert started.loss_unit == "standardized targets"
    report = evaluate_checkpoint(run.checkpoints / LAST, "val", "auto")
    assert report.loss_unit == "standardized targets"
    assert report.metrics == pytest.approx(evaluated[-1].metrics)
    scale = run.setup.preset.data.scale_target
    assert isinstance(scale, TargetScaleConfig)
    exported = export(run.checkpoints / LAST, tmp_path / "a.safetensors", "safetensors", "auto")
    assert exported.target_scale == scale.model_dump()
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["torchconsole.target_scale"]) == exported.target_scale
