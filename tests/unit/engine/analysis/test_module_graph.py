"""The modules of a model are drawn with torchview, as text or by the program `dot`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from torchconsole.engine.analysis.module_graph import draw_modules
from torchconsole.engine.errors import ComponentError, RunError

pytest.importorskip("torchview")

INPUTS = torch.zeros(1, 3)


class Refuses(nn.Module):
    """A model that accepts no input."""

    def forward(self, inputs: Tensor) -> Tensor:
        raise ValueError("not today")


class NeedsValues(nn.Linear):
    """A model that looks at its input, which the meta device has no values of."""

    def forward(self, inputs: Tensor) -> Tensor:
        assert inputs.sum().item() == 0
        return super().forward(inputs)


def make_dot(folder: Path, script: str) -> None:
    program = folder / "dot"
    program.write_text(f"#!/bin/sh\ncat > {folder}/source\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(3, 2), nn.ReLU()), NeedsValues(3, 2)])
def test_the_text_names_each_module_with_its_shapes(model: nn.Module, tmp_path: Path) -> None:
    weight = next(model.parameters())
    report = draw_modules(model, INPUTS, tmp_path / "net.dot", depth=None)
    source = (tmp_path / "net.dot").read_text()
    assert Path(report.file).stat().st_size == report.bytes == len(source.encode())
    assert all(type(module).__name__ in source for module in model.children())
    assert "(1, 3)" in source
    assert "(1, 2)" in source
    assert weight is next(model.parameters())
    assert weight.device.type == "cpu"


def test_the_depth_limits_the_modules(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), nn.Tanh())
    draw_modules(model, INPUTS, tmp_path / "net.gv", depth=1)
    source = (tmp_path / "net.gv").read_text()
    assert "Tanh" in source
    assert "ReLU" not in source


def test_other_formats_are_drawn_by_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_dot(tmp_path, 'echo "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    draw_modules(nn.Linear(3, 2), INPUTS, tmp_path / "net.SVG", depth=None)
    assert "-Tsvg" in (tmp_path / "net.SVG").read_text()
    assert (tmp_path / "source").read_text().startswith("strict digraph")


def test_a_failure_of_dot_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_dot(tmp_path, "echo no fonts >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(RunError, match=r"net\.svg: dot failed: no fonts$"):
        draw_modules(nn.Linear(3, 2), INPUTS, tmp_path / "net.svg", depth=None)
    assert not (tmp_path / "net.svg").exists()


def test_a_model_that_fails_is_named_with_the_cause(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"forward pass of Refuses fails: ValueError: not today"):
        draw_modules(Refuses(), INPUTS, tmp_path / "net.dot", depth=None)
