"""Messages about a run: their JSON, the command and the webhook that get them, and how either fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.web_server import web_server
from torchconsole.engine.config.user_config import NotifyConfig
from torchconsole.engine.protocol.happenings import happening_of
from torchconsole.engine.run import notification
from torchconsole.engine.run.notification import MOST_MESSAGE, as_order, deliver, encode, message, run_command
from torchconsole.engine.run.record import RunRecord

RECORD = RunRecord(
    "digits-mlp-1",
    "/runs/digits-mlp-1",
    status="finished",
    step=1380,
    total_steps=1380,
    reason="all epochs done",
    best={"metric": "val/loss", "value": 0.12345, "step": 900},
)


def test_a_message_has_the_run_its_metrics_and_a_sentence() -> None:
    content = message("finished", RECORD, {"val/loss": 0.2, "train/loss": float("nan")})
    assert content["text"] == (
        "run digits-mlp-1 finished after step 1,380; all epochs done; best val/loss 0.1235 at step 900"
    )
    assert content["event"] == content["status"] == "finished"
    assert content["progress"] == 1.0
    assert content["metrics"] == {"val/loss": 0.2, "train/loss": None}
    assert json.loads(encode(content)) == content


def test_a_message_fits_into_a_pipe_whatever_the_run_is_called() -> None:
    record = RunRecord("x\x1b[2J", "/x", reason="é" * 100_000)
    content = message("failed", record, {f"metric {number}": 0.5 for number in range(5000)})
    assert len(encode(content)) <= MOST_MESSAGE
    assert len(as_order(NotifyConfig(command="x"), content)) < 64 << 10
    assert "\x1b" not in content["text"]


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("failed", "the loss was not finite at step 7; lower optimizer.lr", "diverged"),
        ("failed", "2 steps in a row were skipped, since fp16 gradients were not finite; set", "diverged"),
        ("failed", "out of memory", "failed"),
        ("lost", "the worker was killed", "lost"),
        ("paused", "", None),
    ],
)
def test_a_run_that_diverges_is_told_from_one_that_fails(status: str, reason: str, expected: str) -> None:
    assert happening_of(status, reason) == expected


def test_a_command_gets_the_message_on_its_standard_input(tmp_path: Path) -> None:
    content = message("best", RECORD, {})
    assert deliver(NotifyConfig(command=f"cat > '{tmp_path}/got'; echo out; echo err >&2"), content) == []
    assert json.loads((tmp_path / "got").read_text()) == content


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("echo one >&2; echo the reason >&2; exit 3", "exit status 3: the reason"),
        ("no-such-program-here", "exit status 127: "),
        ("kill -9 $$", "killed by SIGKILL"),
        ("head -c 100000 /dev/zero >&2; exit 1", "exit status 1"),
        ("printf 'a\\033[2J' >&2; exit 1", r"exit status 1: a\x1b[2J"),
    ],
)
def test_a_command_that_fails_gives_one_printable_line(command: str, error: str) -> None:
    found = run_command(command, b"{}" * 20_000)
    assert error in found
    assert found.isprintable()


def test_a_command_that_does_not_end_is_killed_with_all_that_it_has_started(tmp_path: Path) -> None:
    error = run_command(f"sleep 1000 & echo $! > '{tmp_path}/pid'; wait", b"{}", seconds=0.5)
    assert error == "did not end within 0.5 seconds, so it was killed"
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "\nState:\tZ" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline


def test_a_process_left_behind_by_the_command_is_not_waited_for(tmp_path: Path) -> None:
    begin = time.monotonic()
    assert "exit status 1" in run_command(f"sleep 1000 & echo $! > '{tmp_path}/pid'; exit 1", b"{}")
    assert time.monotonic() - begin < 10
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_a_webhook_gets_the_message_with_the_keys_of_chat_services() -> None:
    with web_server() as server:
        assert deliver(NotifyConfig(webhook=server.url), message("failed", RECORD, {})) == []
        server.status = 404
        (error,) = deliver(NotifyConfig(webhook=server.url), message("failed", RECORD, {}))
    assert server.received[0]["text"] == server.received[0]["content"]
    assert server.received[0]["name"] == "digits-mlp-1"
    assert error == "notify.webhook: 127.0.0.1 answers 404 Not Found"


def test_an_unreachable_webhook_is_an_error_without_its_secret() -> None:
    with web_server() as server:
        url = server.url
    (error,) = deliver(NotifyConfig(webhook=url), message("failed", RECORD, {}))
    assert error == "notify.webhook: 127.0.0.1: [Errno 111] Connection refused"


def test_a_webhook_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert "timed out" in notification.post(url, message("failed", RECORD, {}), seconds=0.2)


def test_the_process_that_delivers_reports_errors_to_the_log_and_to_the_worker() -> None:
    order = as_order(NotifyConfig(command="echo why >&2; exit 4"), message("failed", RECORD, {}))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "torchconsole.engine.run.notify_process"],
        input=order,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.decode() == "notify.command: exit status 4: why"
    assert done.stderr.decode().strip().endswith("notify.command: exit status 4: why")
