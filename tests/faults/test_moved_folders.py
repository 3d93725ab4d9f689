"""The folder of a live run is renamed, or its disk is away for a while: nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.test_disk import ENDLESS, Tally, Watcher
from tests.support.fault_counts import count
from tests.support.fault_runs import Runs
from tests.support.runs import lines_of
from tests.support.zygote import Zygote
from torchconsole.engine.client import RunFolder, connect
from torchconsole.engine.protocol.commands import SaveCheckpoint, StopRun
from torchconsole.engine.run.registry import list_runs, moved_to, register
from torchconsole.engine.training.checkpoint import newest_valid


def check_nothing_is_lost(folder: RunFolder) -> None:
    """Every line of the run, its record and its newest checkpoint must be in this folder."""
    record = folder.read_record()
    assert (record.status, record.name, record.problem) == ("stopped", folder.name, "")
    steps = [line["step"] for line in lines_of(folder.metrics_file) if line["kind"] == "train"]
    assert steps == [*range(3, steps[-1] + 1, 3)]
    assert newest_valid(folder.checkpoints)[1]["progress"]["step"] == record.step


async def test_a_run_follows_its_renamed_folder(runs: Runs, tally: Tally) -> None:
    folder = runs.make(*ENDLESS)
    register(folder)
    renames = count(30)
    runs.start(folder)
    async with connect(folder) as client:
        watcher = Watcher(client)
        await watcher.until(lambda state: state.last_checkpoint)
        renamed = folder
        for number in range(renames):
            renamed = RunFolder(renamed.path.rename(folder.path.with_name(f"{number}-best")))
            await watcher.until(lambda state, name=renamed.name: state.name == name)  # type: ignore[misc]
            await watcher.steps(7)
        await watcher.send(SaveCheckpoint())
        await watcher.send(StopRun())
    assert runs.wait() == 0
    assert [path.name for path in folder.path.parent.iterdir()] == [renamed.name]
    assert moved_to(folder) == renamed
    assert [record.name for record in list_runs()] == [renamed.name]
    check_nothing_is_lost(renamed)
    tally(f"a live run's folder renamed {renames} times: followed, nothing lost")


async def test_a_run_whose_folder_is_put_back_goes_on(runs: Runs, tmp_path: Path, tally: Tally) -> None:
    folder = runs.make(*ENDLESS)
    runs.start(folder)
    async with connect(folder) as client:
        watcher = Watcher(client)
        await watcher.until(lambda state: state.last_checkpoint)
        for number in range(3):
            shutil.move(folder.path, tmp_path / "away")
            await watcher.until(lambda state: "the run's folder was moved to" in state.log[-1].message)
            await watcher.steps(100)
            shutil.move(tmp_path / "away", folder.path)
            await watcher.until(lambda state: "the run's folder is back" in state.log[-1].message)
            assert len(watcher.state.log) < 20 * (number + 1)
        await watcher.send(SaveCheckpoint())
        await watcher.send(StopRun())
    assert runs.wait() == 0
    check_nothing_is_lost(folder)
    tally("a live run's folder moved away and put back 3 times: nothing is lost")


def unmount(folder: Path) -> None:
    """Take a file system away although its files are in use."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def bind(mount: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Show a disk below tmp_path/runs, as a mount that comes and goes does."""
    disk, runs = mount(tmp_path / "disk", "size=64m"), tmp_path / "runs"
    runs.mkdir()

    def show() -> None:
        command = ["mount", "--bind", str(disk), str(runs)]
        if subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("bind mounts are not allowed here")

    yield show
    subprocess.run(["umount", "--lazy", str(runs)], capture_output=True)


async def test_a_run_whose_disk_is_away_goes_on(
    bind: Callable[[], None], tmp_path: Path, zygote: Zygote, tally: Tally
) -> None:
    """Once with its runs in the mounted folder, which is empty while it is away, and once below it."""
    for place in (tmp_path / "runs", tmp_path / "runs" / "below"):
        bind()
        runs = Runs(place, zygote)
        folder = runs.make(*ENDLESS)
        runs.start(folder)
        async with connect(folder) as client:
            watcher = Watcher(client)
            await watcher.until(lambda state: state.last_checkpoint)
            unmount(tmp_path / "runs")
            assert not folder.path.exists()
            await watcher.until(lambda state: "the run's disk is away" in state.log[-1].message)
            await watcher.until(lambda state: state.checkpoint_failure)
            await watcher.steps(100)
            bind()
            await watcher.until(lambda state: "the run's folder is back" in state.log[-1].message)
            await watcher.send(SaveCheckpoint())
            await watcher.send(StopRun())
        assert runs.wait() == 0
        check_nothing_is_lost(folder)
        unmount(tmp_path / "runs")
    tally("a live run's disk unmounted and mounted again: nothing is lost")
