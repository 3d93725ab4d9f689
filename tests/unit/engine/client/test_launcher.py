"""Workers are separate processes that outlive the process that starts them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_checkpoints import fake_checkpoint
from tests.support.runs import DEADLINE, make_folder, running, wait_until
from torchconsole.engine.client import (
    StartedRun,
    connect,
    launcher,
    list_runs,
    processes,
    resume_run,
    start_run,
)
from torchconsole.engine.config.loading import load_preset, read_preset, write_preset
from torchconsole.engine.config.script import Script
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.protocol.events import RunFinished
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import lock_holder, note_launch
from torchconsole.engine.run.record import RunRecord

PRESET = load_preset(
    "digits-mlp", ["training.epochs=100000", "training.threads=1", "early_stopping.patience=100000"]
)

Start = Callable[[], StartedRun]


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a run that does not end by itself."""
    started: list[StartedRun] = []

    def start() -> StartedRun:
        started.append(start_run(PRESET, "digits-mlp", tmp_path / "runs"))
        return started[-1]

    yield start
    for run in started:
        run.process.kill()
        run.process.wait()


def has_lock(run: StartedRun) -> bool:
    assert run.exit_reason() is None, run.folder.log_file.read_text()
    return lock_holder(run.folder.lock_file) == run.process.pid


def test_glibc_keeps_memory_between_steps_unless_the_user_sets_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "4096")
    file = Path(f"/proc/{start().process.pid}/environ")
    environment = wait_until(file.read_bytes, "the kernel to set it up").split(b"\0")
    assert b"MALLOC_TRIM_THRESHOLD_=1073741824" in environment
    assert b"MALLOC_MMAP_THRESHOLD_=4096" in environment


async def test_a_run_is_started_stopped_and_resumed(start: Start) -> None:
    run = start()
    record = run.folder.load_record()
    assert (record.preset, record.title, record.total_epochs) == ("digits-mlp", PRESET.title, 100000)
    assert record.versions["python"] == sys.version.split()[0]
    assert read_preset(run.folder.preset_file) == PRESET
    assert [listed.name for listed in list_runs()] == [run.folder.name]
    async with asyncio.timeout(60), connect(run.folder) as client:
        with pytest.raises(RunError, match="torchconsole attach"):
            resume_run(run.folder)
        stopped_at = (await client.send(StopRun())).step
        assert isinstance([event async for event in client.events()][-1], RunFinished)
    await asyncio.to_thread(run.process.wait, DEADLINE)
    assert run.exit_reason() == "exited with status 0"
    assert run.folder.read_record().versions["torch"]
    await _resume_and_stop(run, stopped_at)


async def _resume_and_stop(run: StartedRun, stopped_at: int) -> None:
    again = resume_run(run.folder)
    try:
        async with asyncio.timeout(60), connect(run.folder) as client:
            before = client.snapshot.state
            assert before.status in ("starting", "running")
            assert [applied.command for applied in before.changes] == [StopRun()]
            assert (await client.send(StopRun())).step > stopped_at
    finally:
        again.process.kill()
        again.process.wait()


def test_a_worker_has_its_own_session_and_log(start: Start) -> None:
    run = start()
    wait_until(lambda: has_lock(run), "the lock")
    assert os.getsid(run.process.pid) == run.process.pid
    assert Path(f"/proc/{run.process.pid}/fd/0").readlink() == Path("/dev/null")
    assert Path(f"/proc/{run.process.pid}/fd/2").readlink() == run.folder.log_file


def test_the_signal_that_killed_a_worker_is_named(start: Start) -> None:
    run = start()
    assert run.exit_reason() is None
    wait_until(lambda: has_lock(run), "the lock")
    run.process.kill()
    assert wait_until(run.exit_reason) == "killed by SIGKILL"
    assert run.folder.read_record().status == "lost"


def test_the_commit_of_the_working_folder_is_recorded(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert start().folder.load_record().git_commit is None
    author = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"], ["rev-parse", "HEAD"]):
        done = subprocess.run(
            ["git", *command], env={**os.environ, **author}, capture_output=True, check=True
        )
    assert start().folder.load_record().git_commit == done.stdout.decode().strip()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="stopped")
    folder.log_file.mkdir()
    with pytest.raises(RunError, match="cannot start the run"):
        resume_run(folder)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_worker_signalled_at_once_stops_cleanly(start: Start, number: signal.Signals, status: int) -> None:
    run = start()
    run.process.send_signal(number)
    assert run.process.wait(DEADLINE) == status
    record = run.folder.read_record()
    assert (record.status, record.step) == ("stopped", 0)
    assert number.name in record.reason
    assert "Traceback" not in run.folder.log_file.read_text()


def test_a_resume_signalled_at_once_keeps_step_and_epoch(tmp_path: Path) -> None:
    folder = resumable(tmp_path, step=40, epoch=2)
    again = resume_run(folder)
    again.process.send_signal(signal.SIGTERM)
    assert again.process.wait(DEADLINE) == 143
    record = folder.read_record()
    assert (record.status, record.step, record.epoch) == ("stopped", 40, 2)


def test_an_invalid_preset_is_a_user_error(tmp_path: Path) -> None:
    folder = resumable(tmp_path)
    folder.preset_file.write_text("[optimizer]\nlr = 'fast'\n")
    assert "optimizer.lr" in failed_record(resume_run(folder)).reason


async def test_a_run_can_be_read_if_its_preset_is_not_toml(tmp_path: Path) -> None:
    folder = resumable(tmp_path, step=40)
    folder.preset_file.write_text("[optimizer\n")
    assert "preset.toml" in failed_record(resume_run(folder)).reason
    async with connect(folder) as client:
        assert (client.snapshot.state.status, client.snapshot.state.step) == ("failed", 40)


def test_an_earlier_user_error_is_not_the_cause_of_a_later_loss(tmp_path: Path) -> None:
    folder = resumable(tmp_path, user_error=True)
    again = resume_run(folder)
    again.process.kill()
    again.process.wait()
    assert (folder.read_record().status, folder.read_record().user_error) == ("lost", False)


def test_a_resumed_run_is_never_listed_as_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = resumable(tmp_path)
    with subprocess.Popen(["true"]) as ended:
        note_launch(folder.lock_file, ended.pid)
    seen: list[str] = []

    def look_first(path: Path, pid: int) -> None:
        seen.append(folder.read_record().status)
        note_launch(path, pid)

    monkeypatch.setattr(launcher, "note_launch", look_first)
    again = resume_run(folder)
    again.process.kill()
    again.process.wait()
    assert seen == ["starting"]


def test_a_run_whose_machine_no_longer_exists_can_be_resumed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, **running(host="elsewhere", boot_id="another"))
    with pytest.raises(RunError, match=r'on elsewhere.*set "status" to "lost" in .*run\.json'):
        resume_run(folder)
    folder.write_record(replace(folder.load_record(), status="lost"))
    again = resume_run(folder)
    again.process.kill()
    again.process.wait()


def resumable(runs_dir: Path, **fields: object) -> RunFolder:
    """A run that was stopped and left no checkpoint."""
    folder = make_folder(runs_dir, status="stopped", **fields)
    write_preset(PRESET, folder.preset_file)
    return folder


def failed_record(run: StartedRun) -> RunRecord:
    """Return the record of a run whose worker must fail because of a user error."""
    assert run.process.wait(DEADLINE) == 2
    record = run.folder.read_record()
    assert (record.status, record.user_error) == ("failed", True)
    assert "Traceback" not in run.folder.log_file.read_text()
    return record


@pytest.mark.parametrize(
    ("overrides", "fields", "advice"),
    [
        (
            ["training.epochs=2"],
            {},
            "training.epochs is 2 and 2 are done; to extend it: .* --set training.epochs=4",
        ),
        (
            ["training.max_steps=40"],
            {"step": 40},
            "max_steps is 40 and 40 are done.*--set training.max_steps=80",
        ),
        (
            ["training.max_minutes=1.5"],
            {"details": {"active_seconds": 91.0}},
            "max_minutes is 1.5 and 1.51667 have passed.*--set training.max_minutes=4",
        ),
        (
            ["early_stopping.patience=3"],
            {"details": {"early_stopping": {"counter": 3}}},
            "patience is 3 and 3 evaluations brought no improvement.*--set early_stopping.patience=6",
        ),
    ],
)
def test_resuming_a_complete_run_names_the_keys_to_set(
    tmp_path: Path, overrides: list[str], fields: dict[str, Any], advice: str
) -> None:
    folder = make_folder(tmp_path, status="finished", **fields)
    write_preset(load_preset("digits-mlp", overrides), folder.preset_file)
    fake_checkpoint(folder, 40, epoch=2)
    with pytest.raises(RunError, match=f"is complete: .*{advice}"):
        resume_run(folder)
    assert folder.load_record().status == "finished"


def test_a_run_lost_at_its_end_can_be_resumed_to_finish(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="lost")
    write_preset(load_preset("digits-mlp", ["training.epochs=2"]), folder.preset_file)
    fake_checkpoint(folder, 40, epoch=2)
    again = resume_run(folder)
    again.process.kill()
    again.process.wait()


def test_a_run_whose_end_was_not_saved_continues_at_its_last_checkpoint(tmp_path: Path) -> None:
    """Its disk was full: what it had used at its end does not count."""
    used = {"early_stopping": {"counter": 3}, "active_seconds": 91.0}
    folder = make_folder(tmp_path, status="finished", step=60, details=used)
    limits = ["training.max_steps=60", "training.max_minutes=1.5", "early_stopping.patience=3"]
    write_preset(load_preset("digits-mlp", limits), folder.preset_file)
    fake_checkpoint(folder, 40, epoch=2)
    again = resume_run(folder)
    again.process.kill()
    again.process.wait()


@pytest.mark.parametrize("best", [20, 40, None])
def test_a_branched_run_inherits_what_existed_at_its_step(tmp_path: Path, best: int | None) -> None:
    """The best checkpoint is the one up to that step, even if a later one is better."""
    parent = make_folder(tmp_path, status="finished", step=60)
    preset = load_preset("digits-mlp", ["training.epochs=9"])
    write_preset(preset, parent.preset_file)
    for step in (20, 40, 60):
        fake_checkpoint(parent, step, epoch=step // 20, best_step=best, links=("best",) if step == 60 else ())
    parent.metrics_file.write_text('{"seq": 1}\n')
    branch = launcher.branch_run(parent, parent.checkpoints / "step-00000040", preset)
    branch.process.kill()
    branch.process.wait()
    folder = branch.folder
    assert folder.path.parent == parent.path.parent
    record = folder.load_record()
    assert (record.parent or {})["checkpoint"] == "step-00000040"
    assert (record.step, record.epoch, record.title) == (40, 2, preset.title)
    found = {path.name for path in folder.checkpoints.iterdir()}
    assert found == {"step-00000040", *(["step-00000020"] if best == 20 else [])}
    assert folder.metrics_file.read_text() == '{"seq": 1}\n'
    with pytest.raises(RunError, match=r"@40 is complete: training\.epochs is 2"):
        launcher.branch_run(
            parent, parent.checkpoints / "step-00000040", load_preset("digits-mlp", ["training.epochs=2"])
        )


def test_a_run_that_starts_shows_its_processes_and_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_require_memory", lambda count: None)
    monkeypatch.setattr(launcher, "_launch", lambda folder, *rest, **kwargs: StartedRun(folder, None))  # type: ignore[arg-type]
    sizes = {"training.device": "cpu", "training.grad_accum_steps": 3, "distributed.processes": 2}
    preset = load_preset("digits-mlp", ["data.batch_size=8", *(f"{key}={sizes[key]}" for key in sizes)])
    folder = start_run(preset, "digits-mlp", tmp_path / "runs").folder
    row = folder.read_record().to_json()
    assert (row["status"], row["processes"], row["batch_size"]) == ("starting", 2, 48)
    script = Script(file=str(tmp_path / "train.py"), folder=str(tmp_path), processes=3)
    program = launcher.start_script(script, tmp_path / "runs").folder.read_record().to_json()
    assert (program["processes"], program["batch_size"]) == (3, None)
