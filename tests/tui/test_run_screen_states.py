"""The run screen while a run is live, and when it ends, is lost or cannot be reached."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.scripted import BEGINNING, FOLDER, NOON, TELEMETRY, ScriptedRun, epochs, logged
from tests.support.watching import watching
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui import run_session
from torchconsole.tui.screens.run import RunScreen
from torchconsole.tui.widgets import header

FINISHED = ev.RunFinished(status="finished", reason="all 60 epochs done", step=1380, epoch=60, time=NOON)
COMMAND_KEYS = ("space", "minus", "plus", "l", "s", "e", "x", "d")


async def test_events_update_the_screen() -> None:
    async with watching(ScriptedRun(*BEGINNING)) as console:
        console.run.emit(*epochs(1, 2))
        await console.shows("epoch 2/60", "step 46/1,380", "0 of 7", "saved step-00000046 (best)")
        console.run.emit(logged(47, 50))
        await console.shows("epoch 3/60", "step 50/1,380")


async def test_a_slow_phase_has_a_bar_and_a_time_left() -> None:
    decoding = ev.PhaseChanged(
        phase="decoding samples",
        subject="train",
        done=300,
        total=1200,
        began=NOON,
        time=NOON + 4,
        hint="wait",
    )
    async with watching(ScriptedRun()) as console:
        console.run.emit(decoding)
        await console.shows("decoding samples (train)... 12 s", "300 of 1,200 ━", " 25%", "ETA 0:04")
        console.run.emit(decoding.model_copy(update={"done": 600, "time": NOON + 12}))
        await console.shows("600 of 1,200 ━", " 50%", "ETA 0:12")
        console.run.emit(ev.PhaseChanged(phase="dry run", time=NOON + 12))
        await console.shows("dry run...", "step 0")


async def test_attach_again_also_works_for_an_ended_run() -> None:
    stopped = FINISHED.model_copy(update={"status": "stopped"})
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2), stopped, live=False)) as console:
        await console.press("space")
        await console.shows("cannot pause: the run was stopped")
        await console.press("a")
        await console.until(lambda: console.run.opened == 2)
        await console.shows("stopped at step 1,380")
        assert "cannot pause: the run was stopped" not in console.text


async def test_a_run_that_another_console_resumed_is_followed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    record = RunRecord(FOLDER.name, str(FOLDER), status="lost", host=socket.gethostname())
    looks: list[RunFolder] = []

    def look(folder: RunFolder) -> RunRecord:
        looks.append(folder)
        return record

    monkeypatch.setattr(run_session, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(RunFolder, "read_record", look)
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        console.run.emit(ev.RunLost(reason="killed by SIGKILL"))
        assert looks == []
        console.run.hang_up()
        await console.until(lambda: len(looks) > 3)
        assert "✗ lost" in console.text
        record.status = "running"
        await console.shows("● running", "space pause")
        assert console.run.opened == 2
        looked = len(looks)
        console.run.emit(logged(47, 50))
        await console.shows("step 50/1,380")
        assert len(looks) == looked
        record.status = "lost"
        console.run.emit(ev.RunLost(reason="killed by SIGKILL"))
        console.run.hang_up()
        await console.until(lambda: len(looks) > looked)
        await console.app.pop_screen()
        assert not [worker for worker in console.app.workers if worker.group == "follow"]


async def test_a_run_of_another_machine_or_a_deleted_one_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_session, "LOOK_SECONDS", 0.01)
    run = RunFolder.create(tmp_path, "r")
    assert not await run_session.wait_until_live(run)
    run.write_record(RunRecord(run.name, str(run.path), status="stopped", host="elsewhere"))
    assert not await run_session.wait_until_live(run)


async def test_a_finished_run_can_be_left_and_refuses_commands() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2), FINISHED, live=False)) as console:
        await console.shows("✓ finished", "finished at step 1,380: all 60 epochs done", "q leave")
        assert "r resume" not in console.text
        for key in COMMAND_KEYS:
            await console.press(key)
            await console.shows(": the run has finished")
        assert console.run.commands == []
        await console.press("r")
        await console.shows("cannot resume: the run has finished")
        await console.press("q")
        assert [type(message) for message in console.app.received] == [RunScreen.CloseRequested]


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (ev.RunFailed(reason="CUDA out of memory"), ("✗ failed", "failed at step 46: CUDA out of memory")),
        (ev.RunLost(reason="killed by SIGKILL"), ("✗ lost", "lost at step 46: killed by SIGKILL")),
    ],
)
async def test_a_failed_or_lost_run_shows_the_reason_and_can_be_resumed(
    end: ev.Event, words: tuple[str, ...]
) -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        console.run.emit(end)
        console.run.hang_up()
        await console.shows(*words, "worker.log", "r resume", "2 log", "q leave")
        await console.press("r")
        assert console.app.received == [RunScreen.ResumeRequested(FOLDER)]


async def test_a_run_without_a_checkpoint_cannot_be_resumed() -> None:
    async with watching(ScriptedRun(*BEGINNING)) as console:
        console.run.emit(ev.RunLost(reason="killed by SIGKILL"))
        console.run.hang_up()
        await console.shows("✗ lost")
        assert "r resume" not in console.text
        await console.press("r")
        await console.shows("cannot resume: the worker exited unexpectedly")


@pytest.mark.parametrize("fault", [RunError("no answer for 30 s"), ConnectionResetError("reset by peer")])
async def test_a_lost_connection_can_be_restored(fault: Exception) -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        console.run.hang_up(fault)
        await console.shows(f"connection lost ({fault}); the run may still be running", "a attach again")
        await console.press("space")
        await console.shows("cannot pause: the connection was lost")
        await console.press("a")
        await console.shows("space pause")
        assert console.run.opened == 2
        console.run.emit(logged(47, 50))
        await console.shows("step 50/1,380")


async def test_a_worker_without_updates_is_shown_as_such_until_the_next_one() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        assert "no updates" not in console.text
        console.app.now += 60
        await console.shows("no updates for 1:00")
        assert "ETA" not in console.text
        console.run.emit(ev.TelemetryMeasured(telemetry=TELEMETRY))
        await console.settle()
        assert "no updates" not in console.text


async def test_a_suspended_worker_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "suspension", lambda _: "SIGSTOP")
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        assert "suspended" not in console.text
        console.app.now += 6
        await console.shows("suspended (SIGSTOP)")
        console.run.emit(ev.TelemetryMeasured(telemetry=TELEMETRY))
        await console.settle()
        assert "suspended" not in console.text


async def test_time_in_which_the_worker_was_suspended_does_not_change_the_eta() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        before = console.text.splitlines()[0].partition("ETA")[2]
        console.app.now += 3600
        await console.shows("no updates for 1:00:00")
        after_suspension = logged(48, 48).model_copy(update={"active_seconds": 48 / 50 + 3600})
        console.run.emit(logged(47, 47), ev.TelemetryMeasured(telemetry=TELEMETRY), after_suspension)
        await console.shows("step 48/", f"ETA{before}")


async def test_an_unreachable_run_can_be_left() -> None:
    run = ScriptedRun()
    run.unreachable = RunError("its worker does not answer")
    async with watching(run) as console:
        await console.shows("its worker does not answer", "a attach again", "q leave")
        await console.press("q")
        assert len(console.app.received) == 1


async def test_a_snapshot_replaces_all_earlier_events() -> None:
    later = ScriptedRun(*BEGINNING, *epochs(1, 9))
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        console.run.emit(later.snapshot)
        await console.shows("step 207/1,380", "saved step-00000207")
        console.run.emit(logged(208, 210))
        await console.shows("step 210/1,380")


async def test_a_run_that_could_not_write_all_its_files_is_finished_but() -> None:
    end = ev.RunFinished(
        status="finished", reason="all done", problem="metrics.jsonl is lost", step=9, epoch=1
    )
    async with watching(ScriptedRun(*BEGINNING, end, live=False)) as console:
        await console.shows("finished at step 9, but metrics.jsonl is lost")


async def test_a_console_follows_a_renamed_folder(tmp_path: Path) -> None:
    async with watching(ScriptedRun(*BEGINNING)) as console:
        console.run.emit(ev.FolderMoved(name="the-best", folder=str(tmp_path / "the-best")))
        await console.shows("the-best")
        await console.press("q")
        await console.shows("the-best", "detach")


async def test_a_diverged_loss_has_a_badge_in_the_chart() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        series = {"train/loss": Points.of([1047, 1048], [float("nan"), float("inf")])}
        console.run.emit(ev.MetricsLogged(step=1048, epoch=3, active_seconds=1, series=series))
        await console.shows("NaN @ step 1,047", "train inf")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_status_line_shows_a_divergence_while_it_lasts(size: tuple[int, int]) -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2)), size=size) as console:
        assert "NaN" not in console.text
        for steps, value in (([47, 48], "nan"), ([1049, 1050], "inf")):
            series = {"train/loss": Points.of(steps, [float(value)] * 2)}
            console.run.emit(ev.MetricsLogged(step=steps[-1], epoch=3, active_seconds=1, series=series))
            await console.shows("train/loss is NaN since step 47")
        await console.press("2")
        await console.shows("train/loss is NaN since step 47")
        console.run.emit(logged(1051, 1060))
        await console.settle()
        assert "is NaN since" not in console.text


async def test_a_checkpoint_that_could_not_be_written_is_reported() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        console.run.emit(ev.CheckpointFailed(step=50, reason="checkpoint at step 50 not saved: disk full"))
        await console.shows("checkpoint at step 50 not saved: disk full")


async def test_a_warning_is_shown_even_if_the_log_is_not_open() -> None:
    """Both a warning from before the console was attached and a later one."""
    early = ev.LogWritten(level="warning", message="this machine ends your processes\nthat is all", time=NOON)
    async with watching(ScriptedRun(early)) as console:
        await console.shows("warning (2 log): this machine ends your processes")
        console.run.emit(ev.LogWritten(level="error", message="run.json cannot be written", time=NOON))
        await console.shows("error (2 log): run.json cannot be written")
        console.run.emit(ev.CheckpointFailed(step=50, reason="checkpoint at step 50 not saved: disk full"))
        await console.shows("checkpoint at step 50 not saved: disk full")


async def test_names_and_messages_are_not_parsed_as_markup() -> None:
    run = ScriptedRun(*BEGINNING, ev.LogWritten(message="[red]loss[/] \x1b[31m 50%\nnext [/x]", time=NOON))
    run.snapshot.state.name = "[b]my run[/b]\x07"
    async with watching(run) as console:
        await console.press("2")
        await console.shows("[b]my run[/b]\\x07", "[red]loss[/] \\x1b[31m 50%", "next [/x]")
        await console.press("x")
        await console.shows("Stop [b]my run[/b]\\x07?")
