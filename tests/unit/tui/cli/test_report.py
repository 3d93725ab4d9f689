"""Reports are made by another process, which may crash."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from torchconsole.engine.analysis import report
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.protocol.events import PhaseChanged
from torchconsole.engine.protocol.info import ModelSummary
from torchconsole.engine.protocol.reports import CheckReport
from torchconsole.tui.cli.report import make_preset_report, make_report


class Made(BaseModel):
    """A report."""

    after: int


def make_reports_with(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the process that makes reports by a shell script."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("kill -KILL $$", "killed by SIGKILL: it may have run out of memory; lower .*"),
        ("echo 'a warning' >&2; kill -TERM $$", "killed by SIGTERM"),
        ("exit 1", "exited with status 1"),
        ("printf 'ValueError: no\\n' >&2; exit 1", "ValueError: no"),
        (
            "printf 'Traceback (...)\\nValueError: no\\n' >&2; exit 1",
            "ValueError: no; its traceback is in .*",
        ),
        ("printf 'Traceback (...)\\nMemoryError\\n' >&2; exit 1", "out of memory: MemoryError"),
    ],
)
def test_a_report_that_crashes_names_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, cause: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    make_reports_with(script, tmp_path, monkeypatch)
    with pytest.raises(RunError, match=f"the report failed: {cause}$"):
        make_report(BaseModel, "device")


def test_a_report_on_inputs_has_the_files_that_the_shell_has_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `predict RUN <(COMMAND)` does."""
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    os.write(writing, b'{"after": 7}\n')
    os.close(writing)
    make_reports_with(f"cat /dev/fd/{reading}", tmp_path, monkeypatch)
    with Path(os.devnull).open() as stdin:
        assert make_report(Made, "predict", stdin=stdin).after == 7
    os.close(reading)


def test_slow_phases_are_printed_while_a_report_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    phases = [
        PhaseChanged(phase="downloading data", subject="Flowers", time=1.0),
        PhaseChanged(phase="measuring mean and std", done=5, total=70, time=2.0),
        PhaseChanged(phase="measuring mean and std", done=6, total=70, time=2.5),
    ]
    lines = [phase.model_dump_json() for phase in phases]
    script = "\n".join(f"echo '{line}'" for line in [*lines, '{"after": 1}'])
    make_reports_with(script, tmp_path, monkeypatch)
    assert make_report(Made, "device").after == 1
    assert capsys.readouterr().err.splitlines() == [
        "downloading data (Flowers)",
        "measuring mean and std: 5 of 70",
    ]


def test_a_warning_is_not_taken_for_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    code = tmp_path / "net.py"
    code.write_text("import warnings\n\nwarnings.warn('this is only a warning')\n")
    trust(code)
    preset = load_preset("digits-mlp").model_copy(update={"model": ModelConfig(name=f"{code}:Net")})
    with pytest.raises(TorchconsoleError, match=r"^model\.name: [^\n]*Net[^\n]*$"):
        make_preset_report(CheckReport, "check", preset)


def test_a_report_finds_user_modules_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a run does: `package.module:Thing` without a path."""
    package = tmp_path / "package_of_this_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "nets.py").write_text(
        "from torch import nn\n"
        "def make(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    trust(package / "nets.py")
    preset = load_preset("digits-mlp").model_copy(
        update={"model": ModelConfig(name="package_of_this_test.nets:make")}
    )
    write_preset(preset, tmp_path / "preset.toml")
    assert report.main(["summary", str(tmp_path / "preset.toml")]) == 0
    made = ModelSummary.model_validate_json(capsys.readouterr().out.splitlines()[-1])
    assert [layer.type for layer in made.layers] == ["Flatten", "Linear"]
    assert made.params == 650
