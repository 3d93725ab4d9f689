"""Which exports can be given inputs, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.model_inputs import find_trained


@pytest.mark.parametrize("name", ["net.pt2", "net.onnx", "net.pt", "net.pth"])
def test_an_export_that_may_run_code_is_refused_with_another_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(TorchconsoleError, match=r"may run code.*--format safetensors"):
        find_trained(str(tmp_path / name), "predict with", "best", None, trust=False)


def test_of_an_exported_folder_its_own_program_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    for name in ("predict.py", "model.pt2"):
        (folder / name).touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TorchconsoleError, match=r"python net/predict\.py INPUT\.\.\."):
        find_trained("net", "predict with", "best", None, trust=False)
