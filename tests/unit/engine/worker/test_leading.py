"""A run that another number of processes resumes keeps the samples of a step, however often it is resumed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from torchconsole.engine.config.loading import dump_preset, load_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.names import STATE_FILE
from torchconsole.engine.worker.leading import fit_batch_size


def sized(batch_size: int) -> Preset:
    """Return a preset with so many samples for each process."""
    return load_preset("digits-mlp", [f"data.batch_size={batch_size}"])


def make_checkpoint(folder: Path, preset: Preset, processes: int) -> Path:
    """Make what a checkpoint says of its training."""
    folder.mkdir()
    made_with = {"processes": str(processes)} if processes > 1 else {}
    torch.save({"preset": dump_preset(preset), "made_with": made_with}, folder / STATE_FILE)
    return folder


def test_a_run_without_a_checkpoint_keeps_its_batch() -> None:
    assert fit_batch_size(sized(48), [], 2) == sized(48)


@pytest.mark.parametrize(("processes", "size"), [(1, 96), (2, 48), (3, 32)])
@pytest.mark.parametrize("written", [48, 96])
def test_the_batch_is_that_of_the_checkpoint_divided_anew(
    tmp_path: Path, written: int, processes: int, size: int
) -> None:
    """A resume by one process has `written` 96 into the run's preset, and has died before its next save."""
    saved = make_checkpoint(tmp_path / "step-1", sized(48), processes=2)
    assert fit_batch_size(sized(written), [saved], processes).data.batch_size == size


def test_a_batch_that_another_resume_has_changed_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved = make_checkpoint(tmp_path / "step-1", sized(48), processes=2)
    fit_batch_size(sized(48), [saved], 2)
    assert not caplog.messages
    with caplog.at_level(logging.INFO):
        fit_batch_size(sized(96), [saved], 2)
    assert caplog.messages == ["data.batch_size 96 -> 48, as in the run's newest checkpoint"]


def test_the_newest_checkpoint_that_can_be_read_counts(tmp_path: Path) -> None:
    damaged = make_checkpoint(tmp_path / "step-3", sized(8), processes=1)
    (damaged / STATE_FILE).write_bytes(b"damaged")
    older = make_checkpoint(tmp_path / "step-2", sized(96), processes=1)
    oldest = make_checkpoint(tmp_path / "step-1", sized(48), processes=4)
    assert fit_batch_size(sized(96), [damaged, older, oldest], 2).data.batch_size == 48


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    saved = make_checkpoint(tmp_path / "step-1", sized(8), processes=2)
    with pytest.raises(RunError, match=r"its 16 samples cannot be divided by 3; resume with 2 processes"):
        fit_batch_size(sized(16), [saved], 3)
