"""The help of the commands that write files for other tools."""

from __future__ import annotations

import pytest

from torchconsole.tui.cli.parser import run_command


def test_the_help_of_metrics_names_the_formats_and_the_extra(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["metrics", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "csv|json|parquet" in shown
    assert "torchconsole[parquet]" in shown
