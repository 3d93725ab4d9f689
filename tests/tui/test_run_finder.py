"""f7 on a paused run: a range test from its present weights, and the lr that enter sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.scripted import BEGINNING, FOLDER, ScriptedRun, epochs
from tests.support.watching import watching
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.lr_state import LrState
from torchconsole.engine.protocol.reports import LearningRateSearch
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui import launch
from torchconsole.tui.finders import LR_FINDER, Finder
from torchconsole.tui.screens import run_finder

STEP = 92
LRS = np.geomspace(1e-7, 1e-1, 120)
PAUSED = (*BEGINNING, *epochs(1, 4), ev.RunPaused(step=STEP))


def search_of(suggestion: float | None) -> LearningRateSearch:
    return LearningRateSearch(
        device="cpu",
        precision="fp32",
        lr=0.003,
        steps=200,
        lrs=LRS.tolist(),
        losses=[2.0] * 120,
        smoothed=(2 - 1.9 / (1 + (1e-3 / LRS) ** 2)).tolist(),
        diverged=True,
        step=STEP,
        steepest=suggestion,
        minimum=suggestion,
        tenth=suggestion,
        suggestion=suggestion,
        settings=[f"optimizer.lr={suggestion}"] if suggestion else [],
    )


class Machine:
    """What the search finds on the disk, and what it is asked for."""

    def __init__(self) -> None:
        self.saved = [23, STEP]
        """The step of the newest checkpoint, at one look after the other."""
        self.search = search_of(0.002)
        self.searched: list[tuple[Finder, Path]] = []

    def newest(self, folder: object) -> Path:
        step = self.saved.pop(0) if len(self.saved) > 1 else self.saved[0]
        return FOLDER / "checkpoints" / f"step-{step:08}"

    async def make(
        self, finder: Finder, preset: Preset, on_phase: Callable[[ev.PhaseChanged], None], checkpoint: Path
    ) -> LearningRateSearch:
        self.searched.append((finder, checkpoint))
        return self.search


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(run_finder, "newest_intact", made.newest)
    monkeypatch.setattr(run_finder, "read_preset", lambda file: load_preset("digits-mlp"))
    monkeypatch.setattr(launch, "search", made.make)
    return made


async def test_f7_saves_searches_and_sets_the_lr(machine: Machine) -> None:
    run = ScriptedRun(*PAUSED)
    async with watching(run, size=(120, 40)) as console:
        await console.shows("f7 find lr")
        await console.press("f7")
        await console.shows("Find a learning rate", "save requested")
        assert run.commands == [cmd.SaveCheckpoint(keep=False)]
        run.answer(STEP, f"saved step-{STEP:08}")
        await console.shows("from the weights of step 92", "suggested: 0.002", "enter applies it")
        assert machine.searched == [(LR_FINDER, FOLDER / "checkpoints" / f"step-{STEP:08}")]
        await console.press("enter")
        await console.settle()
        assert run.commands[1:] == [cmd.SetLearningRate(factor=0.002 / 0.003)], "of the preset's lr, 0.003"


def test_the_schedule_is_scaled_to_the_suggestion_also_in_its_warm_up() -> None:
    """The lr of the range test is in the place of optimizer.lr, not in that of the present lr."""
    run = RunState(name="run", folder="/run", lr_scale=0.5)
    command = run_finder.change_to(0.01, 0.002, run)
    warm_up = LrState(base=(0.002,), scheduled=(0.0002,), scale=0.5, held=None)
    assert warm_up.after(command).lrs == pytest.approx([0.001])
    assert warm_up.after(command).scale == pytest.approx(5.0)
    run.lr_held = 0.1
    assert run_finder.change_to(0.01, 0.002, run) == cmd.SetLearningRate(value=0.01)


async def test_a_checkpoint_of_the_present_step_is_enough(machine: Machine) -> None:
    machine.saved = [STEP]
    run = ScriptedRun(*PAUSED)
    async with watching(run) as console:
        await console.press("f7")
        await console.shows("suggested: 0.002")
        await console.press("escape")
        await console.until(lambda: "Find a learning rate" not in console.text)
        assert run.commands == []


async def test_without_a_checkpoint_of_the_present_step_nothing_is_searched(machine: Machine) -> None:
    machine.saved = [23]
    run = ScriptedRun(*PAUSED)
    async with watching(run) as console:
        await console.press("f7")
        await console.until(lambda: run.commands)
        run.answer(STEP, "saved")
        await console.shows("no checkpoint of step 92 was saved", "esc closes")
        assert machine.searched == []


async def test_a_search_without_a_suggestion_changes_nothing(machine: Machine) -> None:
    machine.saved, machine.search = [STEP], search_of(None)
    run = ScriptedRun(*PAUSED)
    async with watching(run) as console:
        await console.press("f7")
        await console.shows("no lr to suggest")
        await console.press("enter", "escape")
        await console.until(lambda: "Find a learning rate" not in console.text)
        assert run.commands == []


async def test_a_run_that_is_not_paused_is_not_searched(machine: Machine) -> None:
    run = ScriptedRun(*BEGINNING, *epochs(1, 4))
    async with watching(run, size=(120, 40)) as console:
        assert "find lr" not in console.text
        await console.press("f7")
        await console.shows("cannot find an lr: pause the run first")
        assert machine.searched == []


async def test_a_low_terminal_says_that_lines_are_missing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> LearningRateSearch:
        raise DataError("\n".join(f"line {number} of the reason" for number in range(20)))

    machine.saved = [STEP]
    monkeypatch.setattr(launch, "search", fail)
    async with watching(ScriptedRun(*PAUSED), size=(40, 12)) as console:
        await console.press("f7")
        await console.shows("line 0 of the reason", "more: enlarge")
