"""`torchconsole export`: the format that a file's ending means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_checkpoints import fake_checkpoint
from tests.support.runs import make_folder
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.reports import ExportReport
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.cli import export as command


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = make_folder(tmp_path / "runs", status="finished")
    fake_checkpoint(folder, 20, links=("best",))
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The files and formats that are asked for; nothing is written."""
    asked: list[tuple[str, ...]] = []

    def report(kind: object, name: str, checkpoint: str, *options: str) -> ExportReport:
        asked.append(options)
        return ExportReport(
            file=options[0], checkpoint=checkpoint, step=20, bytes=4, tensors=1, params=1, averaged=False
        )

    monkeypatch.setattr(command, "make_report", report)
    return asked


@pytest.mark.parametrize(
    ("file", "form"), [("w.pt", "state_dict"), ("w.safetensors", "safetensors"), ("w.weights", "safetensors")]
)
def test_the_ending_of_the_file_gives_the_format(
    run: RunFolder, asked: list[tuple[str, ...]], tmp_path: Path, file: str, form: str
) -> None:
    assert command.export(run.name, output=tmp_path / file, runs_dir=run.path.parent) == 0
    assert asked == [(str(tmp_path / file), form, "auto")]


def test_another_format_than_the_ending_says_is_refused(
    run: RunFolder, asked: list[tuple[str, ...]], tmp_path: Path
) -> None:
    with pytest.raises(TorchconsoleError, match=r"w\.pt: the format is safetensors; add --format state_dict"):
        command.export(run.name, "safetensors", tmp_path / "w.pt", runs_dir=run.path.parent)
    assert not asked
