"""Take the pictures of docs/images from real runs (`make screenshots`, a few minutes)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from session import record

if TYPE_CHECKING:
    from torchconsole.tui.app import ConsoleApp

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
COMMAND = Path(sys.executable).with_name("torchconsole")
SIZE = (120, 40)
PATIENCE_SECONDS = 300.0

PROGRAM = """\
#!{python}
import sys
from torchconsole.tui.cli import main
sys.exit(main())
"""

FOLDERS = ("TORCHCONSOLE_RUNS", "XDG_STATE_HOME", "XDG_CONFIG_HOME")

NEUTRAL = """
import pwd, socket
_find = pwd.getpwuid
socket.gethostname = lambda: "lab"
pwd.getpwuid = lambda uid: pwd.struct_passwd(("ada", *_find(uid)[1:]))
"""
"""Runs at the start of every Python below: pictures name neither this host nor this user."""

PICTURES: dict[str, tuple[list[str], str]] = {
    "run-dark": ([], "torchconsole-dark"),
    "run-light": ([], "torchconsole-light"),
    "charts": (["c", *["left"] * 30], "torchconsole-dark"),
    "classes": (["4", "4"], "torchconsole-dark"),
}
"""Pictures of the run screen: the keys to press, and the theme."""

MENU_PICTURES: dict[str, list[str]] = {
    "menu": ["tab"],
    "compare": ["tab", "down", "space", "down", "space", "c"],
    "form": ["e"],
}
"""Pictures that begin at the menu."""


def main() -> None:
    """Take the pictures in a temporary home, in which nothing tells whose computer this is."""
    if Path.cwd() == Path(os.environ.get("PICTURES_HOME", "")):
        take_all()
        return
    with tempfile.TemporaryDirectory(prefix="torchconsole-") as folder:
        home = Path(folder).resolve()
        python = install(home)
        folders = {name: f"{home}/{name.lower()}" for name in FOLDERS}
        env = {**os.environ, **folders, "COLORTERM": "truecolor", "TERM": "xterm-256color"}
        env |= {"PICTURES_HOME": str(home)}
        for name in ("SSH_CONNECTION", "NO_COLOR", "TMUX"):
            env.pop(name, None)
        subprocess.run([python, str(Path(__file__).resolve())], cwd=home, env=env, check=True)


def install(home: Path) -> Path:
    """Copy the package into a virtual environment of its own, and return that one's Python."""
    for name in ("engine", "tui", "presets"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, home / "lib" / "torchconsole" / name, ignore=ignored)
    venv.create(home / "venv")
    (site,) = (home / "venv" / "lib").glob("python*/site-packages")
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "pictures.pth").write_text("\n".join([str(home / "lib"), *packages]), encoding="utf-8")
    (site / "sitecustomize.py").write_text(NEUTRAL, encoding="utf-8")
    python = home / "venv" / "bin" / "python"
    command = python.with_name("torchconsole")
    command.write_text(PROGRAM.format(python=python), encoding="utf-8")
    command.chmod(0o755)
    return python


def take_all() -> None:
    """Train some runs, steer one of them, and take the pictures while it trains."""
    IMAGES.mkdir(exist_ok=True)
    other = ("--set", "optimizer.lr=0.01", "--set", "training.seed=1")
    trained = [("iris-mlp",), ("wine-mlp",), ("digits-cnn",), ("digits-mlp",), ("digits-cnn", *other)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda words: run("train", *words, "--headless"), trained))
    record([str(COMMAND)], IMAGES / "session.svg")
    run("send", "demo", "stop")
    run("train", "demo", "--detach")
    try:
        for step, *command in ((2500, "lr", "x0.5"), (4000, "save"), (5500, "lr", "x2"), (6500, "eval")):
            wait_for_step("demo", int(step))
            run("send", "demo", *map(str, command))
        asyncio.run(take_pictures())
    finally:
        subprocess.run([COMMAND, "send", "demo", "stop"], capture_output=True, check=False)


def run(*words: str) -> str:
    """Run a command of torchconsole and return its output."""
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"torchconsole {' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout


def wait_for_step(preset: str, step: int) -> None:
    """Wait until the newest run of `preset` has made `step` steps."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if json.loads(run("runs", preset, "--json"))[0]["step"] >= step:
            return
        time.sleep(0.5)
    sys.exit(f"{preset} has not reached step {step:,} within {PATIENCE_SECONDS:.0f} seconds")


async def take_pictures() -> None:
    """Take a picture of each screen."""
    from torchconsole.engine.run.registry import find_run
    from torchconsole.tui.app import ConsoleApp

    for name, (keys, theme) in PICTURES.items():
        await take(name, ConsoleApp(find_run("demo")), keys, theme)
    for name, keys in MENU_PICTURES.items():
        await take(
            name, ConsoleApp(runs_dir=Path(os.environ["TORCHCONSOLE_RUNS"])), keys, "torchconsole-dark"
        )


async def take(name: str, app: ConsoleApp, keys: Sequence[str], theme: str) -> None:
    """Write the picture that a console shows after some keys."""
    async with app.run_test(size=SIZE) as pilot:
        app.theme = theme
        await pilot.pause(4)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.3)
        await pilot.pause(3)
        while "computing" in (picture := app.export_screenshot(title="")):
            await pilot.pause(0.5)
        (IMAGES / f"{name}.svg").write_text(picture, encoding="utf-8")
        print(f"docs/images/{name}.svg")


if __name__ == "__main__":
    main()
