"""Folders of the user in PYTHONPATH are searched for user code alone, after what is installed."""

from __future__ import annotations

import os
import sys
from email import parser
from pathlib import Path

import pytest

from torchconsole.engine.config.import_path import (
    code_folders,
    find_in,
    find_installed,
    is_installed,
    without_user_folders,
    worker_environment,
)


def test_folders_in_pythonpath_belong_to_the_user_unless_packages_were_installed_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine, target, site = (tmp_path / name for name in ("mine", "target", "lib/site-packages"))
    for folder in (mine, target / "thing-1.0.dist-info", site):
        folder.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "mine", str(target), str(site), "."]))
    assert code_folders() == [str(tmp_path), str(mine)]
    assert worker_environment()["PYTHONPATH"] == os.pathsep.join([str(target), str(site)])
    path = [str(tmp_path), str(mine), str(target), str(site), "/usr/lib"]
    assert without_user_folders(path) == [str(target), str(site), "/usr/lib"]


def test_without_pythonpath_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert without_user_folders(["/a", "/b"]) == ["/a", "/b"]
    assert "PYTHONPATH" not in worker_environment()


def test_a_working_folder_that_was_removed_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    folder.rmdir()
    try:
        assert code_folders() == []
    finally:
        os.chdir(tmp_path)


def test_an_editable_install_counts_as_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import hook finds it anywhere."""
    package = tmp_path / "editable_of_this_test"
    package.mkdir()
    (package / "__init__.py").touch()

    class Hook:
        @staticmethod
        def find_spec(name: str, path: object = None) -> object:
            return find_in(name, [str(tmp_path)]) if name == package.name else None

    assert find_installed(package.name) is None
    find_installed.__globals__["find_by_hooks"].cache_clear()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Hook])
    spec = find_installed(package.name)
    find_installed.__globals__["find_by_hooks"].cache_clear()
    assert spec is not None
    assert spec.origin == str(package / "__init__.py")


def test_packages_modules_and_namespaces_are_found_as_by_an_import(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first / "space", second / "space", second / "pkg"):
        folder.mkdir(parents=True)
    (second / "pkg" / "__init__.py").touch()
    (second / "module.py").touch()
    folders = [str(first), str(second)]
    namespace = find_in("space", folders)
    assert namespace is not None
    assert namespace.loader is None
    assert namespace.submodule_search_locations == [str(first / "space"), str(second / "space")]
    for name, file in (("pkg", "pkg/__init__.py"), ("module", "module.py")):
        spec = find_in(name, folders)
        assert spec is not None
        assert spec.origin == str(second / file)
    assert find_in("nowhere", [*folders, str(tmp_path / "missing")]) is None


def test_user_code_below_a_folder_of_an_editable_install_is_not_installed(tmp_path: Path) -> None:
    for name in ("package/__init__.py", "package/data/part.py", "space/inner.py", "project/own.py", "one.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def installed(name: str, file: str, entry: Path = tmp_path) -> bool:
        return is_installed(name, str(tmp_path / file), [str(entry)])

    assert installed("package", "package/__init__.py")
    assert installed("any.name", "package/data/part.py")
    assert installed("space.inner", "space/inner.py")
    assert installed("one", "one.py")
    assert not installed("own", "project/own.py")
    assert not installed("inner", "space/inner.py")
    assert not installed("one", "one.py", tmp_path / "space")
    assert is_installed("x", "/venv/lib/site-packages/any/x.py", ["/venv/lib/site-packages"])
    assert is_installed("email.parser", os.path.normpath(parser.__file__), sys.path)
