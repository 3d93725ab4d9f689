"""`torchconsole notify`: what is configured, and a test of each way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.web_server import web_server
from torchconsole.tui.cli.parser import run_command


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "torchconsole"
    folder.mkdir(mode=0o700)
    return folder / "config.toml"


def test_without_a_config_it_says_what_is_not_set(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["notify"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        f"config          {config}",
        "terminal        none: this command does not write to one",
        "command         not set",
        "webhook         not set",
    ]


def test_each_way_is_tried_and_a_failure_is_the_exit_status(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    got = config.with_name("got")
    with web_server() as server:
        config.write_text(
            f'[notify]\nterminal = false\ncommand = "cat > \'{got}\'"\nwebhook = "{server.url}"\n'
        )
        config.chmod(0o600)
        assert run_command(["notify", "--test"]) == 0
        out = capsys.readouterr().out
        assert (
            "terminal        off: notify.terminal is false\ncommand         works\nwebhook         works"
            in out
        )
        assert json.loads(got.read_text())["event"] == "test"
        server.status = 500
        assert run_command(["notify", "--test"]) == 1
    assert "webhook         failed: 127.0.0.1 answers 500" in capsys.readouterr().out
    assert server.received[0]["text"].startswith("run example is only an example")


def test_nothing_is_tried_without_being_asked(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text('[notify]\ncommand = "exit 1"\n')
    config.chmod(0o600)
    assert run_command(["notify"]) == 0
    assert "command         set" in capsys.readouterr().out
