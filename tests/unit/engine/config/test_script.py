"""The `[script]` of a preset: what is none is refused with the file and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchconsole.engine.config.script import read_script
from torchconsole.engine.errors import PresetError


@pytest.mark.parametrize(
    "section",
    [
        'script = "train.py"',
        "script = []",
        "[script]",
        '[script]\nfile = "a.py"\nargs = 5',
        '[script]\nfile = "a.py"\nargs = "--lr 1"',
        '[script]\nfile = "a.py"\nargs = [1]',
        '[script]\nfile = "a.py"\nenv = 5',
        '[script]\nfile = "a.py"\nenv = {A = 1}',
        "[script]\nfile = 5",
        '[script]\nfile = "a.py"\nfolder = 5',
        '[script]\nfile = "a.py"\nmodule = "a"',
        '[script]\nfile = "a.py"\nother = 1',
    ],
)
def test_what_is_no_program_is_refused(tmp_path: Path, section: str) -> None:
    path = tmp_path / "preset.toml"
    path.write_text(section + "\n")
    with pytest.raises(PresetError, match=r"\[script\]"):
        read_script(path)
