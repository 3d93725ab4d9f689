"""User code with the real program: what is in the working folder does nothing unless a preset names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.program_user import User
from tests.support.pseudo_terminal import Terminal

pytestmark = pytest.mark.timeout(300)

POISON = "import os\nopen(os.path.expanduser('~/evil'), 'a').write(__name__ + ' ')\nraise SystemExit(3)\n"

LIBRARIES = (
    *("triton", "dill", "matplotlib", "pyarrow", "torchvision", "torch", "numpy", "pandas", "PIL", "lmdb"),
    *(
        "onnx",
        "transformers",
        "tqdm",
        "opt_einsum",
        "yaml",
        "IPython",
        "attr",
        "shellingham",
        "cuda",
        "scipy",
    ),
)

OF_PYTHON = ("random", "json", "typing", "sitecustomize", "usercustomize", "encodings")

PRESET = """
title = "Mine"
[data]
name = "{data}"
num_workers = 0
[model]
name = "lab.nets:make"
[training]
epochs = 1
max_steps = 2
device = "cpu"
"""

NETS = """
import atexit, os, sys
import torch
from torch import nn
from . import sizes
print("stdout at import", sys.argv)
os.system("echo from a shell")
atexit.register(print, "at exit")


def make(num_classes):
    from lab.later import hidden
    return nn.Sequential(nn.Flatten(), nn.Linear(sizes.INPUTS, hidden), nn.Linear(hidden, num_classes))
"""

SPAWNING = """
import joblib
import multiprocessing
import torch
from lab.sizes import INPUTS, double


def triple(number):
    return 3 * number


def make():
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(double, [1, 2]) == [2, 4]
            assert pool.map(triple, [1, 2]) == [3, 6]
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(double)(number) for number in (1, 2)) == [2, 4]
    inputs = torch.randn(64, INPUTS, generator=torch.Generator().manual_seed(0))
    return torch.utils.data.TensorDataset(inputs, (inputs[:, 0] > 0).long())
"""


def write_project(user: User) -> None:
    """Write a preset with a package in the working folder."""
    package = user.folder / "lab"
    package.mkdir()
    (package / "__init__.py").write_text("VERSION = 1\n")
    (package / "nets.py").write_text(NETS)
    (package / "sizes.py").write_text("INPUTS = 64\n\n\ndef double(number):\n    return 2 * number\n")
    (package / "later.py").write_text("hidden = 16\n")
    (user.folder / "spawning.py").write_text(SPAWNING)
    user.write_preset("mine", PRESET.format(data="digits"))
    user.write_preset("spawns", PRESET.format(data="spawning:make"))


def test_files_named_like_libraries_do_nothing(user: User) -> None:
    for name in LIBRARIES:
        (user.folder / name).mkdir()
        (user.folder / name / "__init__.py").write_text(POISON)
    for name in ("dill.py", "cuda.py"):
        (user.folder / name).write_text(POISON)
    user.env["PYTHONPATH"] = f":.:{user.folder}"
    assert user.run("summary", "digits-mlp", timeout=120).returncode == 0
    for name in OF_PYTHON:
        (user.folder / f"{name}.py").write_text(POISON)
    del user.env["PYTHONPATH"]
    done = user.run("train", "digits-mlp", "--set", "training.max_steps=2", timeout=120)
    assert done.returncode == 0, done.stderr
    write_project(user)
    done = user.run("train", "mine", "--trust", timeout=120)
    assert done.returncode == 0, done.stderr
    assert not (user.home / "evil").exists()


def test_a_package_in_the_working_folder_works_in_every_command_from_any_folder(user: User) -> None:
    write_project(user)
    refused = user.run("check", "mine")
    assert refused.returncode == 2
    assert "which imports 3 more files: " in refused.stderr
    checked = user.run("check", "mine", "--trust", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["device"] == "cpu"
    assert len(json.loads(user.run("summary", "mine", "--json").stdout)["layers"]) == 3
    assert user.run("train", "mine").returncode == 0
    log = next(user.runs_dir.glob("mine-*/worker.log")).read_text()
    assert f"stdout at import ['{user.folder}/lab/nets.py']" in log
    elsewhere: dict[str, Any] = {
        "timeout": 120,
        "cwd": "/",
        "env": user.env | {"TORCHCONSOLE_RUNS": str(user.runs_dir)},
    }
    evaluated = user.run("evaluate", "mine", "--json", **elsewhere)
    assert json.loads(evaluated.stdout)["part"] == "val"
    resumed = user.run("resume", "mine", "--set", "training.max_steps=4", **elsewhere)
    assert resumed.returncode == 0, resumed.stderr
    exported = user.run("export", "mine", "--output", str(user.home / "out.safetensors"), **elsewhere)
    assert exported.returncode == 0, exported.stderr
    (user.folder / "lab" / "later.py").write_text(POISON)
    for command in (("evaluate", "mine"), ("resume", "mine", "--set", "training.max_steps=9")):
        changed = user.run(*command, **elsewhere)
        assert changed.returncode == 2
        assert f"{user.folder}/lab/later.py (changed)" in changed.stderr
    assert not (user.home / "evil").exists()


def test_processes_that_user_code_starts_import_user_code(user: User) -> None:
    write_project(user)
    done = user.run("train", "spawns", "--trust", timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("swapped", ["nets.py", "__init__.py"])
def test_a_file_that_is_swapped_while_the_question_waits_does_not_run(
    user: User, open_terminal: Callable[..., Terminal], swapped: str
) -> None:
    write_project(user)
    terminal = open_terminal("summary", "mine")
    asked = lambda: "".join(terminal.text.split()).count("[y/N]")  # noqa: E731 - wherever the lines end
    terminal.wait(lambda: asked() == 1, "the question")
    Path(user.folder, "lab", swapped).write_text(POISON)
    terminal.press("y\r")
    terminal.wait(lambda: asked() == 2, "the second question")
    terminal.press("n\r")
    assert terminal.wait_exit() == 2
    assert not (user.home / "evil").exists()
