"""The package as users install it: the wheel is complete, and a user's own engine.py does no harm."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("engine", "tui", "presets")
SUFFIXES = {".py", ".toml", ".tcss", ".typed"}
FACADE = Path("engine/facade")


def copy_source(to: Path) -> None:
    """Copy what the package is built from."""
    for name in (*FOLDERS, "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            to.mkdir(exist_ok=True)
            shutil.copy(path, to / name)


def holds_links(entry: Path) -> bool:
    """Return whether a folder of Python's path has a tree of links to this checkout."""
    return (entry / "torchconsole" / "engine").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist of this checkout, and the wheel from it."""
    source = tmp_path_factory.mktemp("source")
    copy_source(source)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", source / "dist", source],
        check=True,
        capture_output=True,
        text=True,
    )
    [built] = (source / "dist").glob("*.whl")
    return built


def test_every_module_and_preset_is_in_the_wheel(wheel: Path) -> None:
    files = {
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SUFFIXES
    }
    # The facade is the package itself, and is not packed a second time below engine.
    own = {path.relative_to(FACADE) if path.is_relative_to(FACADE) else path for path in files}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("torchconsole/")}
    assert packed == {f"torchconsole/{path}" for path in own}


@pytest.mark.parametrize("is_beside", [False, True])
def test_an_editable_install_offers_the_facade_and_the_packages_below_it(
    is_beside: bool, tmp_path: Path
) -> None:
    """`is_beside`: as `make run` installs it, for a script that lies beside the checkout."""
    source, site = tmp_path / "torchconsole", tmp_path / "site"
    copy_source(source)
    build = "from setuptools.build_meta import build_editable; build_editable('.')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    [built] = source.glob("*.whl")
    zipfile.ZipFile(built).extractall(site)
    if is_beside:
        [first] = re.findall(r"^FIRST := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        (site / "torchconsole.pth").write_text(first + "\n")
    program = f"""
import site, sys
site.addsitedir({str(site)!r})
import torchconsole
from torchconsole.engine import errors
from torchconsole.tui.cli import parser
print(torchconsole.__file__, errors.__file__, parser.__file__, sep="\\n")
"""
    # -I: neither the checkout that runs this test nor the user's site-packages.
    beside = [str(tmp_path)] if is_beside else []
    entries = [*beside, str(site), *(entry for entry in sys.path if entry and not holds_links(Path(entry)))]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {entries!r}\n{program}"],
        check=True,
        capture_output=True,
        text=True,
    )
    names = ["engine/facade/__init__.py", "engine/errors.py", "tui/cli/parser.py"]
    assert done.stdout.split() == [str(source / name) for name in names]


def test_the_installed_program_ignores_modules_with_its_names_in_the_users_folder(
    wheel: Path, tmp_path: Path, sockets: str
) -> None:
    installed, project = tmp_path / "site", tmp_path / "project"
    zipfile.ZipFile(wheel).extractall(installed)
    project.mkdir()
    for name in ("engine.py", "tui.py", "presets.py", "torch.py"):
        (project / name).write_text("raise SystemExit('the wrong file was imported')\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "TORCHCONSOLE_RUNS": str(tmp_path / "runs"),
        "TORCHCONSOLE_SOCKETS": sockets,
    }
    program = "import sys, torchconsole.tui.cli as cli; print(cli.__file__, flush=True); sys.exit(cli.main())"
    arguments = ["train", "digits-mlp", "--headless", "--set", "training.epochs=1"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(str(installed))
    assert "finished" in done.stdout
