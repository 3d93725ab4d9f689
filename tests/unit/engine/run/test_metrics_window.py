"""Parts of metrics.jsonl: the lines between two steps, and when steps were logged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchconsole.engine.run.metrics_window import read_moments, read_window


def train_line(seq: int, step: int, loss: float | None = 0.5) -> str:
    """Return a line of a logged step, a second after the one before."""
    line = {"seq": seq, "step": step, "epoch": 1, "time": 1000.0 + seq, "kind": "train"}
    return json.dumps({**line, "active_seconds": float(step), "train/loss": loss})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """20,000 steps; the run was resumed from step 8,000 after step 10,000."""
    lines = [train_line(step, step) for step in range(1, 10_001)]
    resumed = {
        "seq": 10_001,
        "step": 8000,
        "epoch": 1,
        "time": 11_001.0,
        "kind": "resumed",
        "checkpoint": "x",
    }
    lines.append(json.dumps(resumed))
    lines += [train_line(step + 2001, step, 0.25) for step in range(8001, 20_001)]
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_window_has_every_step_once(file: Path) -> None:
    for last in range(8001, 8101, 7):
        rows = read_window(file, 7990, last)["train/loss"]
        assert rows.steps.tolist() == list(range(7990, last + 1))
        assert rows.values.tolist() == [0.5] * 11 + [0.25] * (last - 8000)


@pytest.mark.parametrize("window", [(0, 50), (9000, 9100), (19_900, 30_000), (30_000, 40_000)])
def test_any_window_is_found(file: Path, window: tuple[int, int]) -> None:
    found = read_window(file, *window).get("train/loss")
    steps = [] if found is None else found.steps.tolist()
    assert steps == [step for step in range(1, 20_001) if window[0] <= step <= window[1]]


def test_moments_ascend_and_leave_out_what_a_resume_made_void(file: Path) -> None:
    moments = read_moments(file)
    steps = [moment.step for moment in moments]
    assert steps == sorted(set(steps))
    assert 300 < len(moments) <= 400
    assert all(moment.time == 1000 + moment.step for moment in moments if moment.step <= 8000)
    assert all(moment.time == 3001 + moment.step for moment in moments if moment.step > 8100)


@pytest.mark.parametrize(
    "content", ["", "\n", "no json\n", "[]\n{}\n", '{"seq": 1, "step": "x"}\n', '{"seq":']
)
def test_a_damaged_file_has_no_moments_and_no_rows(tmp_path: Path, content: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(content)
    assert read_moments(path) == []
    assert read_window(path, 0, 10) == {}
    assert read_moments(tmp_path / "missing") == []
