"""The loop over epochs says how many there will be, whatever its bounds are called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace

import pytest
from tqdm import tqdm, trange

from torchconsole.engine.library.epoch_loop import epochs_of_loop


class Loops:
    """Called by a program in each of its steps, with the number of its pass."""

    def __init__(self) -> None:
        self.found: list[int | None] = []

    def __call__(self, epoch: int) -> None:
        self.found.append(epochs_of_loop(program_frames(sys._getframe(1)), epoch))


def program_frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None and Path(frame.f_code.co_filename).stem == "program":
        yield frame
        frame = frame.f_back


class Settings:
    rounds = 4


def run(folder: Path, source: str) -> list[int | None]:
    """Run a program; return what is found in each of its steps."""
    file = folder / "program.py"
    file.write_text(source)
    step = Loops()
    names = {
        "step": step, "loader": [1, 2], "tqdm": tqdm, "trange": trange, "Settings": Settings,
        "args": SimpleNamespace(niter=4, start=2), "config": {"n": 4, "nested": {"n": 4}}, "total": 4,
    }  # fmt: skip
    exec(compile(source, str(file), "exec"), names)
    return step.found


@pytest.mark.parametrize(
    "loop",
    [
        "for e in range(4):",
        "for e in range(0, 8, 2):",
        "for e in range(total):",
        "for e in range(args.niter):",
        "for e in range(args.start, args.start + args.niter):",
        "for e in range(Settings.rounds):",
        "settings = Settings()\nfor e in range(settings.rounds):",
        "for e in range(config['n']):",
        "for e in range(int(config['nested']['n'])):",
        "for e in trange(total, disable=True):",
        "for e in tqdm(range(total), disable=True):",
        "rounds = range(total)\nfor e in rounds:",
        "bar = tqdm(range(total), disable=True)\nfor e in bar:",
        "for e in range(10, 6, -1):",
        "for e in range(2 * args.start):",
        "for e in range(9 // config['nested']['n'] + 2):",
    ],
)
def test_the_range_of_the_loop_over_epochs(tmp_path: Path, loop: str) -> None:
    found = run(tmp_path, f"k = 0\n{loop}\n    k += 1\n    for batch in loader:\n        step(k)")
    assert found == [4] * 8


@pytest.mark.parametrize(
    ("start", "condition"),
    [(0, "epoch < total"), (1, "epoch <= config['n']"), (0, "args.epoch < 2 * args.start")],
)
def test_the_limit_of_a_loop_that_counts_epochs(tmp_path: Path, start: int, condition: str) -> None:
    counter = condition.split()[0]
    steps = f"    for batch in loader:\n        step({counter} - {start - 1})\n"
    source = f"{counter} = {start}\nwhile {condition}:\n{steps}    {counter} += 1"
    assert run(tmp_path, source) == [4] * 8


@pytest.mark.parametrize("loop", ["steps = 0\nwhile steps < total:", "epoch = 7\nwhile epoch > total:"])
def test_another_loop_says_nothing(tmp_path: Path, loop: str) -> None:
    assert run(tmp_path, f"{loop}\n    for batch in loader:\n        step(1)\n    break") == [None] * 2


def test_the_loops_may_be_in_different_functions(tmp_path: Path) -> None:
    source = """
class Trainer:
    def __init__(self, rounds):
        self.rounds = rounds
    def fit(self):
        for e in range(self.rounds):
            for phase in ["train", "val"]:
                self.one(e, phase)
    def one(self, e, phase):
        for i, batch in enumerate(loader):
            for _ in range(3):
                if phase == "train":
                    step(e + 1)
Trainer(3).fit()
"""
    assert set(run(tmp_path, source)) == {3}


@pytest.mark.parametrize(
    "source",
    [
        "for e in range(4):\n    step(1)",
        "for e in range(4):\n    for i in range(3):\n        step(e + 1)",
        "for e in loader:\n    for batch in loader:\n        step(e)",
        "for e in range(4):\n    for batch in loader:\n        step(e + 2)",
        "for e in range(4):\n    for batch in loader:\n        pass\nfor batch in loader:\n    step(4)",
        "for e in range(4):\n    pass\nelse:\n    for batch in loader:\n        step(4)",
        "e = 0\nwhile e < 4:\n    e += 1\n    for batch in loader:\n        step(e)",
        "for e in range(len(loader)):\n    for batch in loader:\n        step(e + 1)",
    ],
)
def test_other_loops_say_nothing(tmp_path: Path, source: str) -> None:
    assert set(run(tmp_path, source)) == {None}


def test_a_program_without_a_source_says_nothing() -> None:
    step = Loops()
    exec(
        compile("for e in range(3):\n    for b in [1]:\n        step(e + 1)", "program", "exec"),
        {"step": step},
    )
    assert step.found == [None] * 3
