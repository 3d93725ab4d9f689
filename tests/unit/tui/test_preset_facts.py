"""What the menu's preview reads of a preset's file, whatever is in it by then."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchconsole.engine.config.preset_index import PresetEntry
from torchconsole.tui.preset_facts import read_facts


@pytest.mark.parametrize("script", ["", "train.py"])
@pytest.mark.parametrize(
    "content",
    [
        "", "script = 5", "[script]", "[script]\nfile = 5\nargs = [1, {a = 1}]\nfolder = 5",
        "model = 5", "[model]\nname = 5\nlayers = 3", "[model]\nlayers = []\nname = ''",
        "schedule = 5", "[[schedule]]\nname = 5", "schedule = [1, 2]",
        "[optimizer]\nlr = nan\nname = []", "[optimizer]\nlr = 1e400", "[data]\nbatch_size = {}",
        "[training]\nepochs = 'x'", "[loss]\nname = {a = 1}", "data = 1\ntraining = []\nloss = 'x'",
    ],
)  # fmt: skip
def test_any_file_is_read(tmp_path: Path, content: str, script: str) -> None:
    """The file may have changed since the list of presets was made."""
    path = tmp_path / "mine.toml"
    path.write_text(content)
    entry = PresetEntry("mine", "Mine", "", path, script=script)
    assert all(isinstance(text, str) and text for text in read_facts(entry, []).texts.values())
