"""`torchconsole graph`: what is missing is named before the model is built."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.reports import GraphReport
from torchconsole.tui.cli import graph as command
from torchconsole.tui.cli import named_runs
from torchconsole.tui.cli.graph import graph


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Answer with a given report; return the options that were asked for."""
    options: list[tuple[str, ...]] = []

    def report(kind: object, name: str, preset: object, *given: str) -> GraphReport:
        options.append((name, *given))
        return GraphReport(file=given[0], bytes=4096)

    monkeypatch.setattr(command, "make_preset_report", report)
    monkeypatch.setattr(named_runs, "load_checked_preset", lambda name, overrides: None)
    monkeypatch.setattr(command, "require_trust", lambda preset, is_trusted: None)
    monkeypatch.setattr(command, "find_spec", lambda name: name)
    return options


def test_a_drawing_is_made_and_named(
    asked: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.dot"
    assert graph("digits-mlp", file, depth=2) == 0
    assert graph("digits-mlp", file, as_json=True) == 0
    assert asked == [("graph", str(file), "2"), ("graph", str(file))]
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == f"{file}: 4 kB"
    assert json.loads("".join(rest)) == {"file": str(file), "bytes": 4096}


def test_without_the_program_dot_its_package_is_named(
    asked: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TorchconsoleError, match=r"requires the program dot.*apt install graphviz.*net\.dot"):
        graph("digits-mlp", tmp_path / "net.png")
    assert not asked


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torchview", None)
    with pytest.raises(TorchconsoleError, match=r"pip install 'torchconsole\[graph\]'"):
        graph("digits-mlp", tmp_path / "net.dot")


def test_other_formats_existing_files_and_depths_are_refused(
    asked: list[tuple[str, ...]], tmp_path: Path
) -> None:
    with pytest.raises(TorchconsoleError, match=r"net\.jpg: unknown format; end the name with \.svg, \.png"):
        graph("digits-mlp", tmp_path / "net.jpg")
    (tmp_path / "net.dot").touch()
    with pytest.raises(TorchconsoleError, match="pass --force to overwrite it"):
        graph("digits-mlp", tmp_path / "net.dot")
    with pytest.raises(TorchconsoleError, match="--depth 0: draw one level or more"):
        graph("digits-mlp", tmp_path / "net.gv", depth=0)
    assert not asked
