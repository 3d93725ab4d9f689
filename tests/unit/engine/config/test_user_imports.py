"""The files that user code imports are found by reading it, without running it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torchconsole.engine.config.draft import save_copy
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.resume_policy import change_preset
from torchconsole.engine.config.user_code import FOR_NOW, describe_files, trust, untrusted_files, user_files
from torchconsole.engine.config.user_imports import read
from torchconsole.engine.errors import ComponentError, TrustError

FILES = {
    "own.py": """
import os, torch, helper
import nested.deep.module as renamed
from pkg import attribute, submodule
from star import *
try:
    import conditional
except ImportError:
    pass
def later():
    import lazy
    from importlib import import_module
    import_module("by_name")
    __import__("old_way")
    import_module(f"plugins.{later}")
""",
    "helper.py": "import own\nfrom pkg.submodule import x\n",
    "nested/deep/module.py": "from ..sibling import y\nfrom . import beside\n",
    "nested/deep/beside.py": "import broken\n",
    "nested/sibling/__init__.py": "y = 1\n",
    "pkg/__init__.py": "attribute = 1\n",
    "pkg/submodule.py": "from . import attribute\nfrom .. import too_far\nx = 1\n",
    "pkg/never_imported.py": "1 / 0\n",
    "star/__init__.py": "__all__ = ['one', 'value']\nvalue = 2\n",
    "star/one.py": "",
    "star/two.py": "",
    "broken.py": "def :\n",
    "torch/__init__.py": "installed packages come first\n",
    "os.py": "so does the standard library\n",
    **{f"{name}.py": "" for name in ("conditional", "lazy", "by_name", "old_way", "unused")},
    "plugins/dynamic.py": "",
}

IMPORTED = {
    *("own.py", "helper.py", "nested/deep/module.py", "nested/deep/beside.py", "nested/sibling/__init__.py"),
    *("pkg/__init__.py", "pkg/submodule.py", "star/__init__.py", "star/one.py", "broken.py"),
    *("conditional.py", "lazy.py", "by_name.py", "old_way.py"),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with user code."""
    folder = tmp_path / "project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", ["own.py:Net", "own:Net"])
def test_every_import_that_is_written_down_is_found(project: Path, name: str) -> None:
    found = user_files({"model": {"name": name}})
    assert {str(file.path.relative_to(project)) for file in found} == IMPORTED
    assert [file.path.name for file in found if file.is_named] == ["own.py"]


def test_a_module_in_a_package_runs_the_package_first(project: Path) -> None:
    found = user_files({"model": {"name": "pkg.submodule:x"}})
    assert [str(file.path.relative_to(project)) for file in found] == ["pkg/submodule.py", "pkg/__init__.py"]
    assert [file.is_named for file in found] == [True, False]


def test_files_are_asked_about_together_and_again_when_they_change(project: Path) -> None:
    content = {"model": {"name": "pkg.submodule:x"}}
    (files := untrusted_files(content)).sort(key=lambda file: not file.is_named)
    one, other = project / "pkg" / "submodule.py", project / "pkg" / "__init__.py"
    assert describe_files(files) == f"{one}, which imports 1 more file: {other}"
    for file in files:
        trust(file.path, file.content)
    assert untrusted_files(content) == []
    other.write_text("attribute = 2\n")
    assert describe_files(untrusted_files(content)) == f"code that imports {other} (changed)"


def test_an_empty_file_needs_no_trust(project: Path) -> None:
    (project / "pkg" / "__init__.py").write_text("\n")
    assert [file.path.name for file in untrusted_files({"model": {"name": "pkg.submodule:x"}})] == [
        "submodule.py"
    ]


def test_code_is_searched_in_the_folders_of_the_preset(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    found = user_files({"model": {"name": "pkg.submodule:x"}, "code_folders": [str(project)]})
    assert len(found) == 2


def test_installed_code_is_named_alone(project: Path) -> None:
    found = user_files({"model": {"name": "torch.nn.modules.linear:Linear"}})
    assert [file.path.name for file in found] == ["linear.py"]
    assert "site-packages" in str(found[0].path)


def test_a_preset_finds_its_code_from_any_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths on the command line are relative to the working folder, which is noted."""
    package, path = "model.name=pkg.submodule:x", "model.name=pkg/submodule.py:x"
    for override in (package, path):
        monkeypatch.chdir(project)
        loaded = load_preset("digits-mlp", [override])
        assert loaded.code_folders == [str(project)]
        monkeypatch.chdir("/")
        assert {file.path.name for file in user_files(loaded.model_dump())} >= {"submodule.py"}
    assert loaded.model.name == f"{project}/pkg/submodule.py:x"
    assert load_preset("digits-mlp").code_folders is None


def test_a_resume_notes_the_folder_of_code_that_it_adds(project: Path) -> None:
    changed = change_preset(load_preset("digits-mlp"), ['metrics=[{ name = "pkg.submodule:x" }]'])
    assert changed.code_folders == [str(project)]


def test_folders_in_a_preset_are_relative_to_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "mine.toml").write_text(
        'extends = "digits-mlp"\ncode_folders = ["nested", "~/lib"]\n[model]\nname = "sibling:y"\n'
    )
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir("/")
    loaded = load_preset(str(project / "mine.toml"))
    assert loaded.code_folders == [str(project / "nested"), "/home/me/lib"]
    assert [file.path.name for file in user_files(loaded.model_dump())] == ["__init__.py"]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project / "config"))
    copy = save_copy(project / "mine.toml", {}, "copy")
    assert load_preset(str(copy)).code_folders == loaded.code_folders


def test_a_module_that_is_hidden_by_an_installed_package_is_explained(project: Path) -> None:
    (project / "torch" / "mine.py").write_text("")
    with pytest.raises(
        ComponentError, match="the installed package 'torch' comes before yours and has no mod"
    ):
        user_files({"model": {"name": "torch.mine:Net"}})


@pytest.mark.parametrize(
    "content",
    [
        b"# coding: utf-7\n# +AAo-import os\n",
        b"# coding: U7\n# +AAo-import os\n",
        b"# coding: unicode_escape\n# \\u000aimport os\n",
        b"# coding: raw-unicode-escape\n# \\u000aimport os\n",
        b"# coding: mac_arabic\nx = '\xa7 + evil() + \xa7'\n",  # the byte a7 is a quotation mark, too
        b"# coding: hz\ncheck = True  # ~\nrefuse()\n",  # joins the lines
        b"# coding: punycode\nx = 1\n# -2",
        b"# coding: cp932\nx = '\x83\x5c' + y\n",  # the second byte is a backslash only for other programs
    ],
)
def test_an_encoding_that_hides_what_a_file_does_is_refused(project: Path, content: bytes) -> None:
    (project / "own.py").write_bytes(content)
    with pytest.raises(TrustError, match=r"own\.py: is in the encoding .*, which hides its text"):
        user_files({"model": {"name": "own.py:Net"}})


def test_usual_encodings_are_read(project: Path) -> None:
    for encoding in ("utf-8", "latin-1", "cp1252", "gbk", "ascii"):
        (project / "own.py").write_text(f"# coding: {encoding}\nimport helper\n")
        assert len(user_files({"model": {"name": "own.py:Net"}})) > 1
    (project / "own.py").write_bytes("# coding: euc-jp\nimport helper  # \u8868\n".encode("euc-jp"))
    assert len(user_files({"model": {"name": "own.py:Net"}})) > 1


def test_without_a_readable_state_folder_nothing_is_trusted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(project / "file" / "state"))
    monkeypatch.setenv(FOR_NOW, "")
    content = {"model": {"name": "pkg.submodule:x"}}
    files = untrusted_files(content)
    assert len(files) == 2
    for file in files:
        trust(file.path, file.content)
    assert untrusted_files(content) == []
    monkeypatch.setenv(FOR_NOW, "")
    assert untrusted_files(content) == files


def test_what_is_no_file_is_not_opened(project: Path) -> None:
    os.mkfifo(project / "pipe.py")
    with pytest.raises(TrustError, match=r"pipe\.py: cannot be read"):
        read(project / "pipe.py")
