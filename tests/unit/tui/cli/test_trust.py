"""Trust in user code as the commands ask for it: what was asked about is what is trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.schema import ModelConfig, Preset
from torchconsole.engine.config.user_code import is_trusted
from torchconsole.engine.errors import TrustError
from torchconsole.tui.cli import presets
from torchconsole.tui.cli.trust import trust


@pytest.fixture
def preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Preset:
    """A preset of a file that imports another."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text("import helper\n")
    Path("helper.py").write_text("N = 1\n")
    return load_preset("digits-mlp").model_copy(update={"model": ModelConfig(name=f"{tmp_path}/own.py:Net")})


def answer(monkeypatch: pytest.MonkeyPatch, *actions: object) -> list[str]:
    """Answer the questions with yes, after what happens meanwhile; return the questions."""
    asked: list[str] = []

    def confirm(question: str) -> bool:
        asked.append(question)
        action = actions[len(asked) - 1] if len(asked) <= len(actions) else None
        if callable(action):
            action()
        return True

    monkeypatch.setattr(presets, "has_terminal", lambda: True)
    monkeypatch.setattr(presets, "confirm", confirm)
    return asked


def test_files_are_asked_about_together(preset: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch)
    presets.require_trust(preset, False)
    here = Path.cwd()
    assert asked == [
        f"This preset runs {here}/own.py, which imports 1 more file: {here}/helper.py. "
        "Do you trust these files?"
    ]
    presets.require_trust(preset, False)
    Path("helper.py").write_text("N = 2\n")
    presets.require_trust(preset, False)
    assert asked[1:] == [
        f"This preset runs code that imports {here}/helper.py (changed). Do you trust this file?"
    ]


@pytest.mark.parametrize("name", ["own.py", "helper.py"])
def test_a_file_that_is_swapped_while_the_question_waits_is_asked_about_again(
    preset: Preset, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked = answer(monkeypatch, lambda: Path(name).write_text("import os\n"))
    presets.require_trust(preset, False)
    assert len(asked) == 2
    before = Path.cwd() / "before.py"
    before.write_text("N = 1\n" if name == "helper.py" else "import helper\n")
    assert not is_trusted(before)
    assert is_trusted(Path(name))


def test_a_file_that_appears_while_the_question_waits_is_asked_about(
    preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("helper.py").write_text("import other\n")
    asked = answer(monkeypatch, lambda: Path("other.py").write_text("N = 1\n"))
    presets.require_trust(preset, False)
    assert "2 more files" in asked[1]


def test_without_a_terminal_all_files_are_named(preset: Preset) -> None:
    with pytest.raises(
        TrustError, match=r"own\.py, which imports 1 more file: .*helper\.py; read .* --trust"
    ):
        presets.require_trust(preset, False)
    presets.require_trust(preset, True)
    presets.require_trust(preset, False)


def test_files_and_folders_can_be_trusted(preset: Preset, capsys: pytest.CaptureFixture[str]) -> None:
    assert trust([Path()]) == 0
    here = Path.cwd()
    assert capsys.readouterr().out.splitlines() == [f"trusted: {here}/helper.py", f"trusted: {here}/own.py"]
    presets.require_trust(preset, False)
    with pytest.raises(TrustError, match=r"nowhere\.py: cannot be read: No such file"):
        trust([Path("nowhere.py")])
