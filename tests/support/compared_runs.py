"""Runs with a history and settings, for comparisons."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord

NOW = 1_750_000_000.0


def add_history(folder: RunFolder, evaluations: int, *, scale: float = 1.0, bad_at: int = 0) -> None:
    """Write 100 steps an evaluation: a loss that falls to `scale`, nan at the evaluation `bad_at`."""
    lines: list[dict[str, Any]] = []
    for step in range(10, 100 * evaluations + 1, 10):
        facts = {"seq": step, "step": step, "epoch": 1 + step // 100, "time": NOW + step}
        loss = scale * (1 + 3 * math.exp(-step / 150))
        lines.append({**facts, "kind": "train", "active_seconds": step / 10, "train/loss": loss, "lr": 0.1})
        if step % 100 == 0:
            is_bad = step == 100 * bad_at
            value: dict[str, Any] = {
                "val/loss": None if is_bad else loss * 1.1,
                "val/accuracy": 1 - loss / 10,
            }
            flags = {"nonfinite": {"val/loss": "nan"}} if is_bad else {}
            lines.append(
                {
                    **facts,
                    "seq": step + 1,
                    "kind": "evaluation",
                    "reason": "schedule",
                    "seconds": 1,
                    **value,
                    **flags,
                }
            )
    folder.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def add_compared_run(
    runs_dir: Path, name: str, settings: str, evaluations: int, *, scale: float = 1.0, **facts: Any
) -> RunFolder:
    """Add an ended run of another machine."""
    folder = RunFolder(runs_dir / name)
    folder.path.mkdir(parents=True)
    given: dict[str, Any] = {
        "status": "finished",
        "host": "elsewhere",
        "created": NOW - 600,
        "preset": "aa-small",
        "details": {"steps_per_epoch": 100},
    }
    folder.write_record(RunRecord(name, str(folder.path), **given | facts))
    folder.preset_file.write_text(f'title = "T"\n[data]\nname = "digits"\n{settings}\n')
    add_history(folder, evaluations, scale=scale)
    return folder
