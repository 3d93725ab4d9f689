"""`torchconsole send` to workers that do not answer, and to runs that take no commands."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest

from tests.support.runs import make_folder, wait_until
from torchconsole.engine.config.script import Script, write_script
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.commands import (
    ChangeSetting,
    FreezeLayer,
    MeasureLayers,
    RollBack,
    TrainSteps,
    UnfreezeLayer,
)
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.cli import send

Standin = tuple[RunFolder, "subprocess.Popen[bytes]"]


@pytest.fixture
def stopped(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """A run whose worker is suspended. `send` soon reports that it waits."""
    monkeypatch.setattr(send, "NOTICE_SECONDS", 0.05)
    folder, process = standin
    wait_until(lambda: folder.load_record().socket, "the worker's socket")
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: folder.load_record().suspended_by, "the worker to be suspended")
    yield standin
    process.send_signal(signal.SIGCONT)


def test_a_suspended_worker_is_reported_at_once(stopped: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    folder, process = stopped
    assert send.send(str(folder.path), "save") == 1
    assert capsys.readouterr().err == (
        f"torchconsole: error: save cannot be sent: run {folder.name} is suspended (SIGSTOP); "
        f"continue it with `kill -CONT {process.pid}`, then send it again\n"
    )


def test_send_gives_up_after_the_timeout(
    stopped: Standin, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is suspended after it was looked at."""
    folder, process = stopped
    answers = chain(["", ""], repeat("SIGSTOP"))
    monkeypatch.setattr(RunRecord, "suspended_by", property(lambda _: next(answers)))
    assert send.send(str(folder.path), "save", timeout=0.3) == 1
    notice, error = capsys.readouterr().err.splitlines()
    why = f"(its process is suspended by SIGSTOP; continue it with `kill -CONT {process.pid}`)"
    assert notice == f"waiting for the worker to reach a step boundary… {why}"
    assert error == (
        f"torchconsole: error: {folder.name} has not applied save within 0.3 s {why}; it may still apply it"
    )


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"status": "failed"}, "has failed"),
        ({"status": "finished"}, "has finished"),
        ({"status": "stopped"}, "was stopped"),
        ({"status": "lost"}, "is lost"),
        (
            {"status": "running", "host": "elsewhere"},
            "is running on elsewhere; send the command from that machine",
        ),
    ],
)
def test_a_run_that_takes_no_commands_is_reported_with_the_reason(
    tmp_path: Path, facts: dict[str, str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path, **facts)
    assert send.send(str(folder.path), "lr", "x0.5") == 1
    way_out = "" if "host" in facts else f"; to continue it: torchconsole resume {folder.name}"
    expected = f"torchconsole: error: lr cannot be sent: run {folder.name} {reason}{way_out}\n"
    assert capsys.readouterr().err == expected


def test_a_program_that_only_runs_anew_is_not_said_to_continue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path, status="finished")
    write_script(Script(file="/train.py", folder="/"), folder.preset_file)
    assert send.send(str(folder.path), "pause") == 1
    assert capsys.readouterr().err.endswith(f"run {folder.name} has finished\n")


def test_resume_is_not_a_command_for_a_live_run() -> None:
    with pytest.raises(TorchconsoleError, match=r"use `unpause` .* or `torchconsole resume RUN`"):
        send.parse_command("resume", None)


@pytest.mark.parametrize(("value", "every"), [(None, 50), ("200", 200), ("off", 0)])
def test_stats_measures_the_layers(value: str | None, every: int) -> None:
    assert send.parse_command("stats", value) == MeasureLayers(every=every)


@pytest.mark.parametrize(("value", "steps"), [(None, 1), ("20", 20)])
def test_step_trains_steps_until_a_pause(value: str | None, steps: int) -> None:
    assert send.parse_command("step", value) == TrainSteps(steps=steps)


@pytest.mark.parametrize("value", ["on", "0", "-1", "0.5", "9999999"])
def test_step_takes_a_number_of_steps(value: str) -> None:
    with pytest.raises(TorchconsoleError, match=f"step {value}: needs a number of steps from 1 to 1,000,000"):
        send.parse_command("step", value)


@pytest.mark.parametrize(
    ("value", "checkpoint"),
    [
        (None, None),
        ("best", "best"),
        ("last", "last"),
        ("12000", "step-00012000"),
        ("12,000", "step-00012000"),
        ("step-00012000", "step-00012000"),
    ],
)
def test_rollback_takes_a_checkpoint(value: str | None, checkpoint: str | None) -> None:
    assert send.parse_command("rollback", value) == RollBack(checkpoint=checkpoint)


@pytest.mark.parametrize("value", ["-1", "newest", "1.5", "step-", "../best", "9" * 19])
def test_rollback_takes_no_other_text(value: str) -> None:
    with pytest.raises(TorchconsoleError, match="needs best, last or a step such as 12000"):
        send.parse_command("rollback", value)


def test_a_layer_is_frozen_and_unfrozen_by_its_name() -> None:
    assert send.parse_command("freeze", "features.0") == FreezeLayer(layer="features.0")
    assert send.parse_command("unfreeze", "features.0") == UnfreezeLayer(layer="features.0")
    with pytest.raises(TorchconsoleError, match="freeze needs a layer's name"):
        send.parse_command("freeze", None)


@pytest.mark.parametrize("value", ["on", "-1", "0.5", "9999999"])
def test_stats_takes_a_number_of_steps(value: str) -> None:
    with pytest.raises(TorchconsoleError, match=f"stats {value}: needs a number of steps up to 1,000,000"):
        send.parse_command("stats", value)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("training.clip_norm=1.0", "training.clip_norm", "1.0"),
        ("title = lr = 0.1, again", "title", "lr = 0.1, again"),
        ("training.clip_norm=", "training.clip_norm", ""),
    ],
)
def test_set_takes_a_key_and_a_value(text: str, key: str, value: str) -> None:
    assert send.parse_command("set", text) == ChangeSetting(key=key, value=value)


@pytest.mark.parametrize("text", [None, "training.clip_norm", "=1"])
def test_set_without_a_key_and_a_value_is_refused(text: str | None) -> None:
    with pytest.raises(TorchconsoleError, match=r"^set.*: needs KEY=VALUE, such as training.clip_norm=1.0"):
        send.parse_command("set", text)
