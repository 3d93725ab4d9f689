"""`torchconsole profile`: the tables, the chart of the memory, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.info import StepTimes
from torchconsole.engine.protocol.profile_report import LayerTime, MemoryCurve, OperationTime, ProfileReport
from torchconsole.tui.cli import profile as command

MB = 2**20
REPORT = ProfileReport(
    device="cuda:0",
    precision="bf16",
    first_step=9,
    steps=10,
    batch_size=64,
    step_seconds=0.0123,
    times=StepTimes(parts={"data_wait": 1e-3, "forward": 3e-3, "backward": 6e-3, "logging": 0.0}),
    on_gpu=True,
    operations=[OperationTime(name=f"aten::op{n}", calls=2.5, seconds=1e-3, share=0.05) for n in range(20)],
    layers=[
        LayerTime(name="features.0", type="Conv2d", forward=1.5e-3, backward=3e-3, share=0.4),
        LayerTime(name="", type="Net", forward=2e-6, backward=0, share=0.001),
    ],
    memory=MemoryCurve(
        seconds=[0.0, 0.01, 0.02], allocated=[MB, 9 * MB, 2 * MB], peak=9 * MB, reserved=16 * MB
    ),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue) -> list[tuple[str, ...]]:
    """Answer with a given report; return the options that were asked for."""
    asked: list[tuple[str, ...]] = []

    def report(kind: object, name: str, preset: object, *options: str) -> ProfileReport:
        asked.append((name, *options))
        return REPORT.model_copy(update={"trace": options[1]})

    monkeypatch.setattr(command, "make_preset_report", report)
    preset = load_preset("digits-mlp", [], catalogue)
    monkeypatch.setattr(command, "load_start", lambda name, *rest: (preset, None, None))
    monkeypatch.setenv("COLUMNS", "70")
    return asked


def test_times_are_printed_in_tables_and_the_memory_as_a_chart(
    asked: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "trace.json"
    assert command.profile("digits-mlp", output=file) == 0
    assert asked == [("profile", "10", str(file))]
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == (
        "10 steps on cuda:0 in bf16, 12.3 ms a step with the profiler and 10 ms without (data wait 10 %, "
        "forward 30 %, backward 60 %); below: the GPU's time per step"
    )
    assert "aten::op0     2.5  1 ms  5.0 %" in text
    assert text.count("aten::op") == command.MOST_ROWS
    assert "features.0  Conv2d   1.5 ms      3 ms  40.0 %" in text
    assert "(model)     Net        2 µs      0 µs   0.1 %" in text
    assert "memory (MB) over time (ms): 9 MB at most, torch has reserved 16 MB" in text
    assert lines[-1].endswith("trace.json is the trace; open it in https://ui.perfetto.dev")


@pytest.mark.usefixtures("asked")
def test_several_processes_are_planned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    load_start = command.load_start

    def note(name: str, overrides: list[str], *rest: object) -> object:
        given.append(overrides)
        return load_start(name, overrides, None, "profile")

    monkeypatch.setattr(command, "load_start", note)
    assert command.profile("digits-mlp", ["data.batch_size=8"], nproc="2") == 0
    assert given == [["data.batch_size=8", "distributed.processes=2"]]


def test_a_compiled_model_has_no_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert REPORT.times is not None
    compiled = REPORT.times.model_copy(update={"is_compiled": True})
    command.print_profile(REPORT.model_copy(update={"layers": [], "times": compiled}))
    assert "\n\na compiled model has no layers here; --set training.compile=false" in capsys.readouterr().out


@pytest.mark.usefixtures("asked")
def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.profile("digits-mlp", as_json=True) == 0
    assert ProfileReport.model_validate(json.loads(capsys.readouterr().out)) == REPORT


@pytest.mark.usefixtures("asked")
def test_a_file_is_not_overwritten_and_steps_are_limited(tmp_path: Path) -> None:
    existing = tmp_path / "trace.json"
    existing.touch()
    with pytest.raises(TorchconsoleError, match="already exists; pass --force"):
        command.profile("digits-mlp", output=existing)
    for steps in (0, 1001):
        with pytest.raises(TorchconsoleError, match=f"--steps {steps}: profile 1 to 1,000 steps"):
            command.profile("digits-mlp", steps=steps)


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (0.00014, "140 µs"), (0.0, "0 µs")]
)
def test_short_times_have_a_unit(seconds: float, text: str) -> None:
    assert command.format_time(seconds) == text
