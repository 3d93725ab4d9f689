"""Presets that extend others."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.errors import PresetError


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "presets"
    folder.mkdir()
    return folder


def test_keys_are_merged_and_lists_replaced(presets: Path) -> None:
    (presets / "child.toml").write_text(
        'extends = "digits-mlp"\ntitle = "child"\n[optimizer]\nlr = 0.1\n[model]\nhidden = [8]\n'
    )
    child, parent = load_preset("child"), load_preset("digits-mlp")
    assert (child.title, child.optimizer.lr, child.optimizer.name) == ("child", 0.1, "AdamW")
    assert child.model.arguments == {"hidden": [8], "dropout": 0.1}
    assert child.schedule == parent.schedule


def test_another_component_replaces_the_section(presets: Path) -> None:
    (presets / "child.toml").write_text(
        'extends = "digits-mlp"\n[optimizer]\nname = "SGD"\nlr = 0.1\nmomentum = 0.9\n'
    )
    assert load_preset("child").optimizer.arguments == {"lr": 0.1, "momentum": 0.9}


def test_extends_may_be_a_chain_and_a_relative_path(presets: Path) -> None:
    (presets / "a.toml").write_text('extends = "digits-mlp"\n[training]\nepochs = 3\n')
    (presets / "b.toml").write_text('extends = "./a.toml"\n[training]\nseed = 7\n')
    training = load_preset("b").training
    assert (training.epochs, training.seed) == (3, 7)


def test_a_circle_and_an_unknown_parent_are_rejected(presets: Path) -> None:
    (presets / "a.toml").write_text('extends = "b"\n')
    (presets / "b.toml").write_text('extends = "a"\n')
    (presets / "c.toml").write_text('extends = "digits-mpl"\n')
    with pytest.raises(PresetError, match=r"extends itself: a\.toml -> b\.toml -> a\.toml"):
        load_preset("a")
    with pytest.raises(PresetError, match=r"c\.toml: extends: .*did you mean 'digits-mlp'"):
        load_preset("c")


def test_paths_of_user_code_are_relative_to_the_preset(presets: Path) -> None:
    (presets / "net.py").write_text("")
    (presets / "mine.toml").write_text('extends = "digits-mlp"\n[model]\nname = "net.py:Net"\n')
    assert load_preset("mine").model.name == f"{presets / 'net.py'}:Net"
