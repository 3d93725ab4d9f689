"""The package as users install it: the wheel is complete, and a user's own engine.py does no harm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("engine", "tui", "presets")
SUFFIXES = {".py", ".toml", ".tcss"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist of this checkout, and the wheel from it."""
    source = tmp_path_factory.mktemp("source")
    for name in (*FOLDERS, "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", source / "dist", source],
        check=True,
        capture_output=True,
        text=True,
    )
    [built] = (source / "dist").glob("*.whl")
    return built


def test_every_module_and_preset_is_in_the_wheel(wheel: Path) -> None:
    expected = {
        f"torchconsole/{path.relative_to(ROOT)}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SUFFIXES
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("torchconsole/")}
    assert packed == expected


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
