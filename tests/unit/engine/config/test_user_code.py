"""The user's own code: found without importing it, run only once its content was agreed to."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.user_code import is_trusted, own_names, source_of, trust, untrusted
from torchconsole.engine.errors import ComponentError, TrustError


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the user's that leaves a mark when it runs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text("from pathlib import Path\nPath('mark').touch()\nclass Net: pass\n")
    return path


def test_code_runs_only_after_its_content_was_trusted(own: Path) -> None:
    mark = own.parent / "mark"
    with pytest.raises(TrustError, match="is not trusted"):
        UserCode().resolve("model", "mine.py:Net")
    assert not mark.exists()
    trust(own)
    assert UserCode().resolve("model", "mine.py:Net").__name__ == "Net"
    assert mark.exists()
    own.write_text(own.read_text() + "\n# changed\n")
    assert not is_trusted(own)


def test_a_module_is_found_by_its_path_without_importing_it(own: Path) -> None:
    package = own.parent / "lab" / "nets"
    package.mkdir(parents=True)
    (package / "small.py").write_text("raise SystemExit\n")
    assert source_of("model", "lab.nets.small:Net") == package / "small.py"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os:system", "Python's own"),
        ("os.path:join", "Python's own"),
        ("subprocess:Popen", "Python's own"),
        (":Net", "write ':Net' as"),
        ("mine.py:not a name", "write"),
        ("nowhere.py:Net", "there is no file 'nowhere.py'"),
        ("no.such.module:Net", "there is no module 'no.such.module'"),
    ],
)
def test_what_is_no_code_of_the_users_is_refused(own: Path, name: str, message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        source_of("model", name)
    assert message in str(caught.value)


def test_what_a_file_lacks_or_breaks_on_is_one_message(own: Path) -> None:
    trust(own)
    with pytest.raises(ComponentError, match="has no 'Missing'"):
        UserCode().resolve("model", "mine.py:Missing")
    broken = own.parent / "broken.py"
    broken.write_text("1 / 0\n")
    trust(broken)
    with pytest.raises(ComponentError, match=r"cannot import .*broken\.py: ZeroDivisionError"):
        UserCode().resolve("model", "broken.py:Net")


def test_every_place_of_a_preset_is_looked_at(own: Path) -> None:
    content = {
        "title": "a: title",
        "model": {"name": "mine.py:Net"},
        "data": {"name": "digits", "transforms": {"train": [{"name": "mine.py:Noise"}]}},
        "metrics": [{"name": "mine.py:Score"}],
    }
    sections = [section for section, _ in own_names(content)]
    assert sections == ["model", "data.transforms.train.0", "metrics.0"]
    assert untrusted(content) == [own]
    trust(own)
    assert untrusted(content) == []
