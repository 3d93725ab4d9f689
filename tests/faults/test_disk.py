"""Disks that are full, read-only or elsewhere: the training goes on, and tells the truth about its files."""

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
from torchconsole.engine.run.manifest import list_checkpoints
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.event_store import EventStore
from torchconsole.engine.training.checkpoint import newest_valid

Tally = Callable[[str], None]

ENDLESS = ("training.epochs=1000000", "training.log_every=3", "checkpoint.save_every_steps=30")


class Watch:
    """A run at work, as its console sees it."""

    def __init__(self, client: RunClient) -> None:
        self.state = client.snapshot.state
        self._events = client.events()
        self._client = client

    async def send(self, command: Command) -> None:
        """Send a command that must be applied."""
        await self._client.send(command)

    async def send_in_vain(self, command: Command) -> str:
        """Send a command that must be rejected; returns the reason."""
        with pytest.raises(CommandRejectedError) as rejected:
            await self._client.send(command)
        return str(rejected.value)

    async def until(self, condition: Callable[[RunState], Any]) -> None:
        """Follow the run until something is so."""
        async with asyncio.timeout(60):
            while not condition(self.state):
                event = await anext(self._events)
                if isinstance(event, Snapshot):
                    self.state = event.state
                else:
                    apply(self.state, {}, event)

    async def steps(self, number: int) -> None:
        """Follow the run for so many steps."""
        goal = self.state.step + number
        await self.until(lambda state: state.step >= goal)

    async def says(self, text: str) -> None:
        """Wait for a line of the log from now on."""
        self.state.log = []
        await self.until(lambda state: any(text in line.message for line in state.log))


@asynccontextmanager
async def watched(runs: Runs, folder: RunFolder) -> AsyncIterator[Watch]:
    """Start a run, watch it, and stop it in the end."""
    runs.start(folder)
    async with connect(folder) as client:
        watch = Watch(client)
        await watch.until(lambda state: state.last_checkpoint)
        yield watch
        await watch.send(StopRun())
    assert runs.wait() == 0


def fill(disk: Path) -> Path:
    """Leave not a byte of a disk; returns the file that takes it all."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (65536, 1024, 1):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    return filler


async def test_a_full_disk_stops_nothing_but_the_files(
    small_disk: Path, zygote: Zygote, tally: Tally
) -> None:
    runs = Runs(small_disk / "runs", zygote)
    folder = runs.make(*ENDLESS)
    rounds = count(10)
    async with watched(runs, folder) as watch:
        for _ in range(rounds):
            filler = fill(small_disk)
            await watch.until(lambda state: state.checkpoint_failure)
            await watch.steps(100)
            assert "No space left on device" in watch.state.checkpoint_failure
            await watch.send(PauseRun())
            reason = await watch.send_in_vain(SaveCheckpoint())
            assert "not saved: No space left on device" in reason
            assert not [path for path in folder.checkpoints.iterdir() if path.name.startswith(".")]
            assert newest_valid(folder.checkpoints)[2] == []
            filler.unlink()
            await watch.send(UnpauseRun())
            await watch.until(lambda state: not state.checkpoint_failure)
    steps = [line["step"] for line in lines_of(folder.metrics_file) if line["kind"] == "train"]
    assert steps == [*range(3, steps[-1] + 1, 3)]
    assert newest_valid(folder.checkpoints)[1]["progress"]["step"] == folder.load_record().step
    tally(f"4, 5: a disk full {rounds} times in a run of {steps[-1]} steps: nothing is lost")


def test_lines_that_a_full_disk_costs_are_recorded_as_a_gap(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    monkeypatch.setattr(jsonl, "PENDING_LINES", 100)
    folder = make_folder(small_disk)
    event_queue = EventQueue()
    recorder = EventStore(folder, RunState(name=folder.name, folder=str(folder.path)), event_queue, "")
    log_steps(event_queue, 1, 50)
    recorder.drain()
    filler = fill(small_disk)
    for first in range(51, 2051, 500):
        log_steps(event_queue, first, first + 499)
        recorder.drain()
    filler.unlink()
    log_steps(event_queue, 2051, 2060)
    recorder.close()
    lines = lines_of(folder.metrics_file)
    written = [line["step"] for line in lines if line["kind"] == "train"]
    [gap] = [line for line in lines if line["kind"] == "gap"]
    assert gap["lines"] == 2060 - len(written)
    assert written[-100:] == [*range(1961, 2061)]
    tally(f"5: {gap['lines']} of 2060 lines lost to a full disk: a gap of so many is recorded")


async def test_a_folder_that_cannot_be_written_is_never_called_saved(
    runs: Runs, mount: Callable[[Path], Path], tally: Tally
) -> None:
    folder = runs.make(*ENDLESS)
    disk = mount(folder.checkpoints)
    async with watched(runs, folder) as watch:
        await watch.send(PauseRun())
        wait_until(lambda: remounted(disk, "ro"), "nobody to write to the disk")
        there = list_checkpoints(folder.checkpoints)
        reason = await watch.send_in_vain(SaveCheckpoint())
        assert f"not saved: Read-only file system ({folder.checkpoints})" in reason
        await watch.until(lambda state: state.checkpoint_failure == reason)
        assert list_checkpoints(folder.checkpoints) == there
        remounted(disk, "rw")
        await watch.send(SaveCheckpoint())
    tally("7: a read-only folder: an error with its cause, never `saved`")


def test_a_run_whose_last_save_failed_says_so_at_its_end(
    runs: Runs, mount: Callable[[Path], Path], tally: Tally
) -> None:
    folder = runs.make()
    remounted(mount(folder.checkpoints), "ro")
    runs.start(folder)
    assert runs.wait() == 0
    record = folder.load_record()
    assert (record.status, record.step) == ("finished", 18)
    assert "all epochs done; checkpoint at step 18 not saved: Read-only file system" in record.reason
    tally("7: a run that could save nothing ends with that as its reason")


def test_temporary_files_elsewhere_have_no_effect(runs: Runs, small_disk: Path, tally: Tally) -> None:
    fill(small_disk)
    expected = runs.finish(runs.make())
    for folder in (small_disk, small_disk / "missing"):
        assert runs.finish(runs.make("data.num_workers=1"), TMPDIR=str(folder)) == expected
    tally("8: $TMPDIR on another disk that is full, and missing: no effect")


def test_a_torn_last_line_is_ignored_and_the_next_starts_clean(tmp_path: Path, tally: Tally) -> None:
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
    tally(f"6: a last line torn at {len(lengths)} of {len(torn)} places: ignored, the next starts clean")


def remounted(disk: Path, mode: str) -> bool:
    """Whether the disk could be mounted again for reading only, or for writing."""
    command = ["mount", "-o", f"remount,{mode}", str(disk)]
    return subprocess.run(command, capture_output=True).returncode == 0
