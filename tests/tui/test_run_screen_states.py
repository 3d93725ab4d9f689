"""The run screen while a run is live, and when it ends, is lost or cannot be reached."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import get_args

import pytest

from tests.support.scripted import BEGINNING, FOLDER, NOON, TELEMETRY, ScriptedRun, epochs, logged
from tests.support.watching import watching
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.status import RunStatus
from torchconsole.engine.run import checkpoints
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui import run_session
from torchconsole.tui.screens.run import RunScreen
from torchconsole.tui.widgets import banner, header

FINISHED = ev.RunFinished(status="finished", reason="all 60 epochs done", step=1380, epoch=60, time=NOON)
COMMAND_KEYS = ("space", "minus", "plus", "l", "s", "e", "x", "d")


async def test_events_update_the_screen() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(160, 50)) as console:
        console.run.emit(*epochs(1, 2))
        await console.shows("epoch  2/60", "step    46/1,380", "7 left", "saved 46 10 s ago")
        console.run.emit(logged(47, 50))
        await console.shows("epoch  3/60", "step    50/1,380")


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
    async with watching(ScriptedRun(), size=(100, 24)) as console:
        console.run.emit(decoding)
        await console.shows("◐ decoding samples (train) ━", " 25%  300 of 1,200  0:12  ETA 0:04", "wait")
        console.run.emit(decoding.model_copy(update={"done": 600, "time": NOON + 12}))
        await console.shows(" 50%  600 of 1,200  0:12  ETA 0:12")
        console.run.emit(ev.PhaseChanged(phase="dry run", time=NOON + 12))
        await console.shows("◐ dry run", "step 0")


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
        await console.shows("train 1.1986")
        assert len(looks) == looked
        record.status = "lost"
        console.run.emit(ev.RunLost(reason="killed by SIGKILL"))
        console.run.hang_up()
        await console.until(lambda: len(looks) > looked)
        await console.app.pop_screen()
        assert not [worker for worker in console.app.workers if worker.group == "follow"]


@pytest.mark.parametrize("end", [ev.RunFailed(reason="process 1 has ended"), ev.RunLost(reason="died")])
async def test_the_reason_that_is_found_out_after_the_end_is_taken_over(
    end: ev.RunFailed | ev.RunLost, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = RunRecord(FOLDER.name, str(FOLDER), status="lost", host=socket.gethostname())
    if isinstance(end, ev.RunFailed):
        record.status, record.reason = "failed", end.reason
    looks: list[RunFolder] = []

    def look(folder: RunFolder) -> RunRecord:
        looks.append(folder)
        return record

    monkeypatch.setattr(run_session, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(RunFolder, "read_record", look)
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        console.run.emit(end)
        console.run.hang_up()
        await console.until(lambda: len(looks) > 3)
        await console.shows(end.reason)
        log = console.app.run_screen.state.log
        assert len([entry for entry in log.entries if entry.kind == "end"]) == 1
        record.status, record.reason = "failed", "process 1 was killed by SIGKILL"
        await console.shows("failed at step 46: process 1 was killed by SIGKILL")
        seen = len(looks)
        await console.until(lambda: len(looks) > seen + 3)
        ends = [entry.message for entry in log.entries if entry.kind == "end"]
        assert ends[1:] == ["failed: process 1 was killed by SIGKILL"]


async def test_a_run_of_another_machine_or_a_deleted_one_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_session, "LOOK_SECONDS", 0.01)
    run = RunFolder.create(tmp_path, "r")
    assert not await run_session.wait_until_live(run, lambda record: None)
    run.write_record(RunRecord(run.name, str(run.path), status="stopped", host="elsewhere"))
    assert not await run_session.wait_until_live(run, lambda record: None)


async def test_a_finished_run_can_be_left_and_refuses_commands() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2), FINISHED, live=False)) as console:
        await console.shows("✓ finished", "finished at step 1,380: all 60 epochs done", "q leave")
        assert "r extend" in console.text
        for key in COMMAND_KEYS:
            await console.press(key)
            await console.shows(": the run has finished")
        assert console.run.commands == []
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
        await console.shows("train 1.1986")


async def test_a_worker_without_updates_is_shown_as_such_until_the_next_one() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        assert "no updates" not in console.text
        console.app.now += 60
        await console.shows("no updates for 1:00")
        assert "ETA       -" in console.text
        console.run.emit(ev.TelemetryMeasured(telemetry=TELEMETRY))
        await console.settle()
        assert "no updates" not in console.text


async def test_a_suspended_worker_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banner, "suspension", lambda _: "SIGSTOP")
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        assert "suspended" not in console.text
        console.app.now += 6
        await console.shows("suspended (SIGSTOP)")
        console.run.emit(ev.TelemetryMeasured(telemetry=TELEMETRY))
        await console.settle()
        assert "suspended" not in console.text


async def test_a_suspended_worker_that_continues_can_be_steered() -> None:
    run = ScriptedRun(*BEGINNING, *epochs(1, 2))
    run.read_only = "suspended (SIGSTOP): continue it with `kill -CONT 7`"
    async with watching(run) as console:
        await console.shows("read-only", "kill -CONT 7")
        run.read_only = ""
        run.emit(run.snapshot)
        await console.shows("the run takes commands again")
        assert "read-only" not in console.text
        await console.press("space")
        assert run.commands == [cmd.PauseRun()]


async def test_time_in_which_the_worker_was_suspended_does_not_change_the_eta() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        before = console.text.splitlines()[0].partition("ETA")[2]
        console.app.now += 3600
        await console.shows("no updates for 1:00:00")
        after_suspension = logged(48, 48).model_copy(update={"active_seconds": 48 / 50 + 3600})
        console.run.emit(logged(47, 47), ev.TelemetryMeasured(telemetry=TELEMETRY), after_suspension)
        await console.shows(f"ETA{before}")


async def test_an_unreachable_run_can_be_left() -> None:
    run = ScriptedRun()
    run.unreachable = RunError("its worker does not answer")
    async with watching(run) as console:
        await console.shows("its worker does not answer", "a attach again", "q leave")
        await console.press("q")
        assert len(console.app.received) == 1


async def test_a_snapshot_replaces_all_earlier_events() -> None:
    later = ScriptedRun(*BEGINNING, *epochs(1, 9))
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2)), size=(160, 50)) as console:
        console.run.emit(later.snapshot)
        await console.shows("step   207/1,380", "saved 207")
        console.run.emit(logged(208, 210))
        await console.shows("step   210/1,380")


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
    async with watching(run, size=(120, 40)) as console:
        await console.press("2")
        await console.shows("[b]my run[/b]\\x07", "[red]loss[/] \\x1b[31m 50%", "next [/x]")
        await console.press("x")
        await console.shows("Stop [b]my run[/b]\\x07?")


async def test_a_run_that_ends_while_the_user_is_asked_is_left_without_an_answer() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        await console.press("q")
        await console.shows("Leave digits-cnn")
        console.run.emit(FINISHED)
        await console.until(lambda: console.app.received)
        assert [type(message) for message in console.app.received] == [RunScreen.CloseRequested]
        assert console.run.commands == []


async def test_a_question_about_a_run_that_has_ended_meanwhile_is_withdrawn() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2))) as console:
        await console.press("x")
        await console.shows("Stop digits-cnn")
        console.run.emit(FINISHED)
        await console.shows("finished at step 1,380")
        assert "Stop digits-cnn" not in console.text
        await console.press("q")
        assert len(console.app.received) == 1


async def test_a_lost_run_says_where_a_resume_continues() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2), logged(47, 60)), size=(100, 30)) as console:
        console.run.emit(ev.RunLost(reason="killed by SIGKILL"))
        console.run.hang_up()
        await console.shows("lost at step 60", "continues from step-00000046; 14 steps are trained again")


async def test_a_newer_checkpoint_on_disk_than_the_run_has_recorded_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker may be killed between the save and its record."""
    monkeypatch.setattr(checkpoints, "newest_intact", lambda run: tmp_path / "step-00000058")
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2), logged(47, 60)), size=(100, 30)) as console:
        console.run.emit(ev.RunLost(reason="killed by SIGKILL"))
        console.run.hang_up()
        await console.shows("continues from step-00000058; 2 steps are trained again")


@pytest.mark.parametrize("size", [(40, 12), (60, 20), (80, 24), (120, 40), (200, 60)])
async def test_the_remedy_of_a_failure_is_never_cut_off(size: tuple[int, int]) -> None:
    reason = (
        "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB; lower data.batch_size, use "
        "training.precision = 'bf16-mixed', or accumulate gradients"
    )
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2)), size=size) as console:
        console.run.emit(ev.RunFailed(reason=reason))
        console.run.hang_up()
        await console.shows("failed at step 46: out of memory", "or accumulate gradients")


async def test_a_badge_has_one_width_and_shows_the_words_of_the_statuses() -> None:
    words = {*get_args(RunStatus), "evaluating", "unreadable"}
    assert set(header.SIGNS) == words
    for word in words:
        [(text, tone)] = header.badge(word)
        assert word in text
        assert len(text) == header.BADGE_WIDTH
        assert tone.startswith("bold ink on ")


async def test_one_evaluation_has_one_value_everywhere() -> None:
    """In the charts, the metrics, early stopping and the log, in every refresh."""
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 4)), size=(200, 60)) as console:
        for epoch in range(5, 9):
            console.run.emit(*epochs(epoch, epoch))
            await console.settle()
            value = console.app.run_screen.state.run.metrics["val/loss"]
            shown = set(re.findall(r"val(?:/loss)? +(\d\.\d{4})\b", console.text))
            latest = {text for text in shown if text == f"{value:.4f}"}
            assert latest
            legend = re.search(r"val (\d\.\d{4})", console.text)
            assert legend
            assert legend[1] == f"{value:.4f}"


async def test_the_tabs_say_who_else_is_attached() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(140, 40)) as console:
        console.run.emit(ev.ClientsChanged(others=["ann@pts/3\x1b[31m"]))
        await console.shows("8 preset", "with ann@pts/3\\x1b[31m · Digits, small CNN")
        console.run.emit(ev.ClientsChanged(others=["", "ann@pts/3", "bob@pts/4"]))
        await console.shows("with somebody and 2 more")
        console.run.emit(ev.ClientsChanged())
        await console.until(lambda: "somebody" not in console.text)
