"""User code: found without importing it, and run only after the user has trusted its content."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.user_code import (
    is_trusted,
    source_file,
    trust,
    untrusted_files,
    user_code_names,
)
from torchconsole.engine.errors import ComponentError, TrustError


@pytest.fixture
def user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user file that creates a file `mark` when it is imported."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text("from pathlib import Path\nPath('mark').touch()\nclass Net: pass\n")
    return path


def test_user_code_runs_only_after_its_content_is_trusted(user_file: Path) -> None:
    mark = user_file.parent / "mark"
    with pytest.raises(TrustError, match="is not trusted"):
        UserCode().resolve("model", "mine.py:Net")
    assert not mark.exists()
    trust(user_file)
    assert UserCode().resolve("model", "mine.py:Net").__name__ == "Net"
    assert mark.exists()
    user_file.write_text(user_file.read_text() + "\n# changed\n")
    assert not is_trusted(user_file)


def test_a_module_is_found_without_importing_it(user_file: Path) -> None:
    package = user_file.parent / "lab" / "nets"
    package.mkdir(parents=True)
    (package / "small.py").write_text("raise SystemExit\n")
    assert source_file("model", "lab.nets.small:Net") == package / "small.py"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os:system", "standard library"),
        ("os.path:join", "standard library"),
        ("subprocess:Popen", "standard library"),
        (":Net", "':Net' is not valid; write"),
        ("mine.py:not a name", "write"),
        ("nowhere.py:Net", "file 'nowhere.py' does not exist"),
        ("/etc/passwd:Net", "'/etc/passwd' is not a Python file; its name must end in .py"),
        ("no.such.module:Net", "module 'no.such.module' is neither installed nor in"),
    ],
)
def test_a_name_that_is_not_user_code_is_rejected(user_file: Path, name: str, message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        source_file("model", name)
    assert message in str(caught.value)


def test_a_missing_class_or_a_failing_import_gives_one_message(user_file: Path) -> None:
    trust(user_file)
    with pytest.raises(ComponentError, match="has no 'Missing'"):
        UserCode().resolve("model", "mine.py:Missing")
    broken = user_file.parent / "broken.py"
    broken.write_text("1 / 0\n")
    trust(broken)
    with pytest.raises(ComponentError, match=r"cannot import .*broken\.py: ZeroDivisionError"):
        UserCode().resolve("model", "broken.py:Net")


def test_user_code_is_found_in_every_section(user_file: Path) -> None:
    content = {
        "title": "a: title",
        "model": {"name": "mine.py:Net"},
        "data": {"name": "digits", "transforms": {"train": [{"name": "mine.py:Noise"}]}},
        "metrics": [{"name": "mine.py:Score"}],
    }
    sections = [section for section, _ in user_code_names(content)]
    assert sections == ["model", "data.transforms.train.0", "metrics.0"]
    assert [file.path for file in untrusted_files(content)] == [user_file]
    trust(user_file)
    assert untrusted_files(content) == []
