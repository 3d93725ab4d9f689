"""`torchconsole run`: what it says of options that go to the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchconsole.engine.config.script import Script
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.run import _find, _note_on_options


@pytest.mark.parametrize(
    ("content", "arguments", "note"),
    [
        (
            "loss.detach()",
            ["--epochs", "3", "--detach"],
            "note: --detach goes to the program; if it is for torchconsole, write: torchconsole run --detach "
            "train.py",
        ),
        (
            "",
            ["--nproc", "2", "--name=a b"],
            "note: --nproc, --name go to the program; if they are for torchconsole, write: torchconsole run "
            "--nproc 2 '--name=a b' train.py",
        ),
        (
            "",
            ["--nproc"],
            "note: --nproc goes to the program; if it is for torchconsole, write: torchconsole",
        ),
        ("parser.add_argument('--name')", ["--name", "x"], ""),
        ("def main(name: str, detach=False):", ["--name", "x", "--detach"], ""),
        ("", ["--epochs", "3", "detach"], ""),
    ],
)
def test_options_behind_the_program_are_noted_unless_it_has_them(
    content: str, arguments: list[str], note: str, tmp_path: Path
) -> None:
    file = tmp_path / "train.py"
    file.write_text(content)
    found = _note_on_options(Script(file=str(file), args=arguments))
    assert found.startswith(note)
    assert bool(found) == bool(note)


def test_of_a_module_only_distinctive_options_are_noted() -> None:
    assert _note_on_options(Script(module="pkg.train", args=["--name", "x", "--json"])) == ""
    assert _note_on_options(Script(module="pkg.train", args=["--headless"])).endswith(
        "torchconsole run --headless -m pkg.train"
    )


def test_a_program_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").touch()
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may read everything
    with pytest.raises(
        TorchconsoleError, match=r"train\.py: you may not read this file; allow it with chmod"
    ):
        _find("train.py", tmp_path)
