"""Throughput of our loop beside hand-written ones, arms interleaved, as medians of paired ratios.

Prints a table and writes benchmarks/results.json. Ratios only: absolute times say more of the machine.
"""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.loops import plain_loop, tutorial_loop
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.protocol.events import Event
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training.control import CommandQueue
from torchconsole.engine.training.keeper import StateKeeper
from torchconsole.engine.training.saver import CheckpointSaver
from torchconsole.engine.training.task import Task, build_task
from torchconsole.engine.training.trainer import Trainer

ROUNDS = 7
WORKLOADS = {"digits-mlp": 20, "digits-cnn": 3}
RESULTS = Path(__file__).parent / "results.json"

Arm = Callable[[Task, int], None]


class _Nobody:
    """An outbox that nobody reads."""

    def emit(self, event: Event) -> None: ...

    def log(self, point: MetricsPoint) -> None: ...


def ours(task: Task, epochs: int) -> None:
    """The engine's loop as a run uses it, evaluations and checkpoints included."""
    with tempfile.TemporaryDirectory() as folder:
        saver = CheckpointSaver(Path(folder), keep=1, emit=_Nobody().emit)
        saver.start()
        Trainer(task, StateKeeper(task, saver), CommandQueue(), _Nobody()).run()


def _by_hand(loop: Callable[..., list[float]]) -> Arm:
    def run(task: Task, epochs: int) -> None:
        batches = list(task.data.train.epoch(0))
        inputs = torch.cat([inputs for inputs, _ in batches])
        targets = torch.cat([targets for _, targets in batches])
        batch_size = task.preset.data.batch_size
        loop(task.model, task.loss_fn, task.optimizer, inputs, targets, batch_size, epochs)

    return run


ARMS: dict[str, Arm] = {
    "tutorial": _by_hand(tutorial_loop),
    "plain": _by_hand(plain_loop),
    "torchconsole": ours,
}


def seconds(arm: Arm, preset_name: str, epochs: int) -> float:
    """Wall time of one arm on a task of its own, building it left out."""
    preset = load_preset(
        preset_name, [f"training.epochs={epochs}", "early_stopping.patience=1000", "training.device=cpu"]
    )
    task = build_task(preset, torch.device("cpu"), lambda phase: None)
    begin = time.perf_counter()
    arm(task, epochs)
    return time.perf_counter() - begin


def measure(preset_name: str, epochs: int) -> dict[str, float]:
    """Median over rounds of tutorial's time / the arm's time, for each arm."""
    ratios: dict[str, list[float]] = {name: [] for name in ARMS}
    for number in range(ROUNDS + 1):
        times = {name: seconds(arm, preset_name, epochs) for name, arm in ARMS.items()}
        if number:  # the first round warms up
            for name in ARMS:
                ratios[name].append(times["tutorial"] / times[name])
    return {name: round(statistics.median(values), 2) for name, values in ratios.items()}


def main() -> None:
    """Measure every workload, print the table, write the file."""
    results = {name: measure(name, epochs) for name, epochs in WORKLOADS.items()}
    print(f"throughput as a ratio to the tutorial loop, median of {ROUNDS} paired rounds")
    for name, row in results.items():
        print(f"{name:12}", *(f"{arm} {ratio:5.2f}" for arm, ratio in row.items()), sep="  ")
    machine = {
        "cpu_count": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
    RESULTS.write_text(json.dumps({"machine": machine, "ratios": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
