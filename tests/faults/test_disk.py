"""Full and read-only disks: the training continues and reports correctly which files were written."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_counts import count, every
from tests.support.fault_runs import Runs
from tests.support.runs import lines_of, log_steps, make_folder, wait_until
from tests.support.zygote import Zygote
from torchconsole.engine.client import RunClient, RunFolder, connect
from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.commands import Command, PauseRun, SaveCheckpoint, StopRun, UnpauseRun
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.run_state import RunState, apply
from torchconsole.engine.run import jsonl
from torchconsole.engine.run.checkpoints import list_checkpoints
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.event_store import EventStore
from torchconsole.engine.training.checkpoint import newest_valid

Tally = Callable[[str], None]

ENDLESS = ("training.epochs=1000000", "training.log_every=3", "checkpoint.save_every_steps=30")


class Watcher:
    """A client that follows the state of a live run."""

    def __init__(self, client: RunClient) -> None:
        self.state = client.snapshot.state
        self._events = client.events()
        self._client = client

    async def send(self, command: Command) -> None:
        """Send a command that must be applied."""
        await self._client.send(command)

    async def send_rejected(self, command: Command) -> str:
        """Send a command that must be rejected; returns the reason."""
        with pytest.raises(CommandRejectedError) as rejected:
            await self._client.send(command)
        return str(rejected.value)

    async def until(self, condition: Callable[[RunState], Any]) -> None:
        """Follow the run until its state satisfies `condition`."""
        async with asyncio.timeout(60):
            while not condition(self.state):
                event = await anext(self._events)
                if isinstance(event, Snapshot):
                    self.state = event.state
                else:
                    apply(self.state, {}, event)

    async def steps(self, number: int) -> None:
        """Follow the run for `number` steps."""
        goal = self.state.step + number
        await self.until(lambda state: state.step >= goal)


@asynccontextmanager
async def watched(runs: Runs, folder: RunFolder) -> AsyncIterator[Watcher]:
    """Start a run and watch it; stop it at the end."""
    runs.start(folder)
    async with connect(folder) as client:
        watcher = Watcher(client)
        await watcher.until(lambda state: state.last_checkpoint)
        yield watcher
        await watcher.send(StopRun())
    assert runs.wait() == 0


def fill(disk: Path) -> Path:
    """Fill a disk to the last byte; returns the file that fills it."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (65536, 1024, 1):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    return filler


def fill_inodes(disk: Path) -> None:
    """Use up the inodes of a disk."""
    with suppress(OSError):
        for number in range(1_000_000):
            (disk / f"filler-{number}").touch()


async def test_a_full_disk_delays_the_files_but_not_the_training(
    small_disk: Path, zygote: Zygote, tally: Tally
) -> None:
    runs = Runs(small_disk / "runs", zygote)
    folder = runs.make(*ENDLESS)
    rounds = count(10)
    async with watched(runs, folder) as watcher:
        for _ in range(rounds):
            filler = fill(small_disk)
            await watcher.until(lambda state: state.checkpoint_failure)
            await watcher.steps(100)
            assert "No space left on device" in watcher.state.checkpoint_failure
            await watcher.send(PauseRun())
            reason = await watcher.send_rejected(SaveCheckpoint())
            assert "not saved: No space left on device" in reason
            assert not [path for path in folder.checkpoints.iterdir() if path.name.startswith(".")]
            assert newest_valid(folder.checkpoints)[2] == []
            filler.unlink()
            await watcher.send(UnpauseRun())
            await watcher.until(lambda state: not state.checkpoint_failure)
    steps = [line["step"] for line in lines_of(folder.metrics_file) if line["kind"] == "train"]
    assert steps == [*range(3, steps[-1] + 1, 3)]
    assert newest_valid(folder.checkpoints)[1]["progress"]["step"] == folder.load_record().step
    tally(f"a disk full {rounds} times in a run of {steps[-1]} steps: nothing is lost")


def test_lines_lost_to_a_full_disk_are_recorded_as_a_gap(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    monkeypatch.setattr(jsonl, "PENDING_LINES", 100)
    folder = make_folder(small_disk)
    event_queue = EventQueue()
    store = EventStore(folder, RunState(name=folder.name, folder=str(folder.path)), event_queue)
    log_steps(event_queue, 1, 50)
    store.drain()
    filler = fill(small_disk)
    for first in range(51, 2051, 500):
        log_steps(event_queue, first, first + 499)
        store.drain()
    filler.unlink()
    log_steps(event_queue, 2051, 2060)
    store.close()
    lines = lines_of(folder.metrics_file)
    written = [line["step"] for line in lines if line["kind"] == "train"]
    [gap] = [line for line in lines if line["kind"] == "gap"]
    assert gap["lines"] == 2060 - len(written)
    assert written[-100:] == [*range(1961, 2061)]
    tally(f"{gap['lines']} of 2060 lines lost to a full disk: recorded as a gap with their number")


async def test_a_save_to_a_read_only_folder_is_reported_as_failed(
    runs: Runs, mount: Callable[[Path], Path], tally: Tally
) -> None:
    folder = runs.make(*ENDLESS)
    disk = mount(folder.checkpoints)
    async with watched(runs, folder) as watcher:
        await watcher.send(PauseRun())
        wait_until(lambda: remount(disk, "ro"), "the last write to the disk")
        before = list_checkpoints(folder.checkpoints)
        reason = await watcher.send_rejected(SaveCheckpoint())
        assert f"not saved: Read-only file system ({folder.checkpoints})" in reason
        await watcher.until(lambda state: state.checkpoint_failure == reason)
        assert list_checkpoints(folder.checkpoints) == before
        remount(disk, "rw")
        await watcher.send(SaveCheckpoint())
    tally("a read-only folder: every save is rejected with the cause")


def test_a_run_whose_last_save_failed_is_finished_but(
    runs: Runs, mount: Callable[[Path], Path], tally: Tally
) -> None:
    folder = runs.make()
    remount(mount(folder.checkpoints), "ro")
    runs.start(folder)
    assert runs.wait() == 0
    record = folder.load_record()
    assert (record.status, record.step) == ("finished", 18)
    assert record.reason == "all epochs done"
    assert record.problem.startswith("checkpoint at step 18 not saved: Read-only file system")
    assert record.problem.endswith(
        f"`torchconsole resume {folder.name}` repeats what came after the last checkpoint"
    )
    tally("a run that could save nothing records it with its end")


@pytest.mark.parametrize(
    ("options", "filler", "advice"),
    [
        ("size=2m", fill, "free space in"),
        ("size=8m,nr_inodes=100", fill_inodes, "no inodes left (see `df -i`), then `torchconsole resume"),
    ],
    ids=["space", "inodes"],
)
async def test_a_run_that_finishes_on_a_full_disk_is_finished_but(
    tmp_path: Path,
    mount: Callable[..., Path],
    zygote: Zygote,
    tally: Tally,
    options: str,
    filler: Callable[[Path], object],
    advice: str,
) -> None:
    disk = mount(tmp_path / "disk", options)
    runs = Runs(disk / "runs", zygote)
    folder = runs.make("data.num_workers=0")
    runs.start(folder, script={"log@9": [{"type": "PauseRun"}]})
    async with connect(folder) as client:
        watcher = Watcher(client)
        await watcher.until(lambda state: state.status == "paused" and state.last_checkpoint)
        wait_until(lambda: folder.load_record().status == "paused", "the record")
        filler(disk)
        await watcher.send(UnpauseRun())
        await watcher.until(lambda state: not state.is_live)
        assert watcher.state.status == "finished"
        assert watcher.state.problem.startswith("checkpoint at step 18 not saved: No space left on device")
        assert advice in watcher.state.problem
    assert runs.wait() == 0
    record = folder.read_record()
    assert (record.status, record.problem, record.step) == ("finished", watcher.state.problem, 18)
    assert newest_valid(folder.checkpoints)[2] == []
    lines_of(folder.metrics_file)
    assert not [path.name for path in folder.path.iterdir() if path.name.startswith(".")]
    for path in disk.glob("filler*"):
        path.unlink()
    assert runs.resume(folder).weights
    assert not folder.load_record().problem
    tally(f"a run that finishes on a disk without {options}: finished, but; and resumed")


def test_a_full_or_missing_tmpdir_has_no_effect(runs: Runs, small_disk: Path, tally: Tally) -> None:
    fill(small_disk)
    expected = runs.finish(runs.make())
    for folder in (small_disk, small_disk / "missing"):
        assert runs.finish(runs.make("data.num_workers=1"), TMPDIR=str(folder)) == expected
    tally("$TMPDIR on a full disk, and missing: no effect")


def test_a_torn_last_line_is_ignored_and_overwritten(tmp_path: Path, tally: Tally) -> None:
    path = tmp_path / "metrics.jsonl"
    torn = '{"seq": 2, "step": 2, "loss": 0.25, "name": "müll"}\n'.encode()
    lengths = every(range(len(torn)))
    for length in lengths:
        path.write_bytes(b'{"seq": 1}\n' + torn[:length])
        assert [*jsonl.read_json_lines(path)] == [{"seq": 1}]
        lines = jsonl.JsonLines(path)
        lines.append(b'{"seq": 3}')
        lines.flush()
        lines.close()
        assert path.read_bytes() == b'{"seq": 1}\n{"seq": 3}\n'
    tally(f"a last line torn at {len(lengths)} of {len(torn)} places: ignored and overwritten")


def remount(disk: Path, mode: str) -> bool:
    """Remount the disk read-only (`ro`) or writable (`rw`); returns whether that succeeded."""
    command = ["mount", "-o", f"remount,{mode}", str(disk)]
    return subprocess.run(command, capture_output=True).returncode == 0
