"""A preset trained from start to end as a real run: accuracy, time, and how busy the GPU was meanwhile."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import torch

from benchmarks.figures import Figure
from torchconsole.engine.client.launcher import start_run
from torchconsole.engine.config.loading import load_preset

PERIOD = 0.25
ACCURACY = "val/accuracy"


def figures_of(preset: str, images: Path, runs_dir: Path, overrides: tuple[str, ...] = ()) -> list[Figure]:
    """Train `preset` on the image folder `images`, evaluated on its part `val`.

    Raises RuntimeError where the run fails.
    """
    data = ("data.name=ImageFolder", f"data.root={images}", "data.download=")
    run = start_run(load_preset(preset, [*data, *overrides]), preset, runs_dir)
    busy: list[float] = []
    try:
        while run.process.poll() is None:
            if run.folder.metrics_file.exists():
                busy += gpu_percent()
            time.sleep(PERIOD)
    finally:
        run.process.kill()
    lines = [json.loads(line) for line in run.folder.metrics_file.read_text(encoding="utf-8").splitlines()]
    accuracies = [line[ACCURACY] for line in lines if line["kind"] == "evaluation"]
    if run.process.returncode or not accuracies:
        raise RuntimeError(run.folder.log_file.read_text(encoding="utf-8"))
    seconds = run.folder.load_record().details["active_seconds"]
    epochs = max(line["epoch"] for line in lines)
    figures = [
        Figure(f"{preset}: best accuracy on the test images", 100 * max(accuracies), "%"),
        Figure(f"{preset}: accuracy at the end", 100 * accuracies[-1], "%"),
        Figure(f"{preset}: time for {epochs} epochs, evaluations included", seconds, "s"),
    ]
    return [*figures, Figure(f"{preset}: GPU utilisation", statistics.median(busy), "%")] if busy else figures


def gpu_percent() -> list[float]:
    """How much of the time the GPU that torch sees was at work lately; nothing where there is none."""
    return [float(torch.cuda.utilization())] if torch.cuda.is_available() else []
