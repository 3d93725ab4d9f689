"""f7 in the form searches for a setting. UPDATE_GOLDENS=1 accepts the text that it shows."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.support.forms import SIZES, editing, form_folder
from tests.support.pilot import until
from tests.support.watching import check_golden
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.user_code import is_trusted
from torchconsole.engine.config.user_imports import UserFile
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.events import PhaseChanged
from torchconsole.engine.protocol.finder_reports import BatchSizeSearch, BatchSizeTrial, LoaderSearch, Search
from torchconsole.engine.protocol.reports import LearningRateSearch
from torchconsole.tui import launch
from torchconsole.tui.cli import report
from torchconsole.tui.finders import FINDERS, Finder

LRS = np.geomspace(1e-7, 1e-1, 120)
LR_SEARCH = LearningRateSearch(
    device="cpu",
    precision="fp32",
    lr=0.1,
    steps=200,
    lrs=LRS.tolist(),
    losses=[2.0] * 120,
    smoothed=(2 - 1.9 / (1 + (1e-3 / LRS) ** 2)).tolist(),
    diverged=True,
    steepest=1e-3,
    minimum=5e-2,
    tenth=5e-3,
    suggestion=1e-3,
    settings=["optimizer.lr=0.001", "optimizer.momentum=0.8"],
)
BATCH_SEARCH = BatchSizeSearch(
    device="cpu",
    precision="fp32",
    batch_size=64,
    grad_accum_steps=1,
    train_samples=1437,
    trials=[
        BatchSizeTrial(
            batch_size=size, fits=True, step_seconds=0.01, samples_per_second=9.0 * size, memory=size << 20
        )
        for size in (8, 16, 32, 64, 128)
    ],
    largest=128,
    limit="time",
    knee=128,
    settings=["data.batch_size=128"],
)
LOADER_SEARCH = LoaderSearch(
    device="cpu", precision="fp32", batch_size=64, num_workers=0, cores=2, computed=900.0
)
SEARCHES: dict[str, Search] = {
    "find-lr": LR_SEARCH,
    "find-batch": BATCH_SEARCH,
    "find-workers": LOADER_SEARCH,
}


class Searches:
    """Searches that this test answers: each reports a phase, and waits until it may end."""

    def __init__(self) -> None:
        self.overrides: list[str] = []
        self.may_end = asyncio.Event()
        self.was_cancelled = False
        self.error = ""

    async def make(
        self, finder: Finder, preset: Preset, on_phase: Callable[[PhaseChanged], None], *_: object
    ) -> Search:
        on_phase(PhaseChanged(phase="training", done=34, total=200, unit="steps"))
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if self.error:
            raise RunError(self.error)
        return SEARCHES[finder.name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the form."""
    return form_folder(tmp_path, monkeypatch)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> Searches:
    made = Searches()
    monkeypatch.setattr(launch, "search", made.make)
    return made


async def test_f7_finds_a_setting_and_enter_takes_it_over(folder: Path, searches: Searches) -> None:
    async with editing(folder) as console:
        await console.press("f7")
        await console.shows("l  learning rate", "b  batch size", "w  data loader workers")
        await console.press("l")
        await console.shows("Find a learning rate", "training: 34 of 200 steps", "esc cancels")
        await console.press("enter")  # there is nothing to take over yet
        searches.may_end.set()
        await console.shows("suggested: 0.001", "★", "enter applies it")
        await console.press("enter")
        await console.shows("applied: optimizer.lr=0.001", "modified: 2 settings", "was 0.1", "was 0.9")
        await console.press("f8")
        await console.shows("Save as a preset of your own", 'extends = "small"')


async def test_escape_ends_a_search(folder: Path, searches: Searches) -> None:
    async with editing(folder) as console:
        await console.press("f7")
        await console.shows("l  learning rate")
        await console.press("b")
        await console.shows("Find a batch size", "34 of 200")
        await console.press("escape")
        await until(console.app, console.pilot, lambda: searches.was_cancelled)
        await console.lacks("Find a batch size")
        assert "modified" not in console.text


@pytest.mark.parametrize("key", ["l", "w"])
async def test_without_an_answer_there_is_nothing_to_take_over(
    folder: Path, searches: Searches, key: str
) -> None:
    searches.error = "data: the folder is empty\ntry another" if key == "l" else ""
    searches.may_end.set()
    async with editing(folder) as console:
        await console.press("f7")
        await console.shows("l  learning rate")
        await console.press(key)
        await console.shows(
            "try another" if key == "l" else "so data loader workers are not needed", "esc closes"
        )
        await console.press("enter", "escape")
        await console.lacks("esc closes")
        assert "modified" not in console.text


async def test_a_search_begins_with_settings_without_errors(folder: Path, searches: Searches) -> None:
    async with editing(folder) as console:
        await console.go_to("training.epochs")
        await console.type("0")
        await console.press("f7")
        await console.shows("l  learning rate")
        await console.press("l")
        await console.shows("cannot search", "training.epochs")


async def test_a_search_asks_for_trust_in_user_code(
    folder: Path, searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = UserFile(folder / "net.py", b"class Net: ...")
    code.path.write_bytes(code.content)
    monkeypatch.setattr(launch, "load", lambda preset, overrides: (load_preset("small"), [code]))
    searches.may_end.set()
    async with editing(folder) as console:
        for answer in ("n", "y"):
            await console.press("f7")
            await console.shows("l  learning rate")
            await console.press("l")
            await console.shows("Do you trust this file?", "class Net")
            await console.press(answer)
            await console.lacks("Do you trust")
        await console.shows("suggested")
    assert is_trusted(code.path)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", ["l", "b"])
async def test_a_search_matches_its_golden_file(
    folder: Path, searches: Searches, key: str, size: tuple[int, int]
) -> None:
    searches.may_end.set()
    async with editing(folder, size) as console:
        await console.lacks("computing the lr")
        await console.press("f7")
        await console.shows("l  learning rate")
        await console.press(key)
        await console.shows("suggested", "enter applies it")
        await console.lacks("loading the preset")
        check_golden(f"finder-{key}-{size[0]}x{size[1]}", console.text)


REPORTING = """
print('{"type": "PhaseChanged", "phase": "training", "done": 1, "total": 2}', flush=True)
print("printed by user code", flush=True)
print(REPORT)
"""


async def test_a_search_reports_its_phases(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = REPORTING.replace("REPORT", repr(LOADER_SEARCH.model_dump_json()))
    monkeypatch.setattr(report, "report_command", lambda *_: [sys.executable, "-c", program])
    phases: list[PhaseChanged] = []
    preset = load_preset("small")
    found = await launch.search(FINDERS[2], preset, phases.append)
    assert found == LOADER_SEARCH
    assert [(phase.phase, phase.done, phase.total) for phase in phases] == [("training", 1, 2)]


async def test_a_search_that_is_cancelled_leaves_no_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        'import os, signal\nprint(\'{"type": "PhaseChanged", "phase": "training", "done": %d}\' '
        "% os.getpid(), flush=True)\nsignal.pause()"
    )
    monkeypatch.setattr(report, "report_command", lambda *_: [sys.executable, "-c", program])
    phases: asyncio.Queue[PhaseChanged] = asyncio.Queue()
    search = asyncio.create_task(launch.search(FINDERS[0], load_preset("small"), phases.put_nowait))
    pid = (await phases.get()).done
    assert pid is not None
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    await asyncio.to_thread(
        psutil.wait_procs, [each for each in psutil.process_iter() if each.pid == pid], 20
    )
    assert not psutil.pid_exists(pid)
