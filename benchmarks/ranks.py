"""Several processes: their throughput beside that of one, and what the channel of commands costs a step.

A process has one thread and a batch of its own, alone or as one of two, so that twice the throughput would be
perfect. The runs are real ones, by turns with a loop written by hand, over gloo; their rate is that between
two of their logged steps.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch._C._distributed_c10d import TCPStore

from benchmarks.figures import Figure
from benchmarks.paired_stats import interleave, paired_ratio
from benchmarks.terminal import PROGRAM
from benchmarks.variants import EpochTimer, build
from benchmarks.workloads import Workload
from torchconsole.engine.distributed.agreement import FollowerQueue, LeaderQueue
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.setup import build_setup
from torchconsole.engine.training.train_state import TrainState
from torchconsole.engine.training.trainer import Trainer

RANKS = 2
BATCH = 128
STEPS, QUICK_STEPS = 120, 40
"""Steps of a run between which its rate is measured; the first ones are left out."""

LEFT_OUT = 10
ROUNDS, QUICK_ROUNDS = 3, 1
CALLS = 200_000

SETTINGS = (
    f"data.batch_size={BATCH}", "training.threads=1", "training.device=cpu", "training.epochs=1000",
    f"training.log_every={LEFT_OUT}", "training.eval_every=1000000", "early_stopping=",
    "checkpoint.save_every_minutes=60",
)  # fmt: skip


def figures(*, quick: bool) -> list[Figure]:
    """Scaling efficiency of two processes, and microseconds of the channel in each step."""
    return [*_scaling(quick=quick), *_channel(quick=quick)]


def _scaling(*, quick: bool) -> list[Figure]:
    steps = QUICK_STEPS if quick else STEPS
    with tempfile.TemporaryDirectory(prefix="torchconsole-") as folder:
        names = (f"{folder}/{number}" for number in itertools.count())
        turns = [
            turn
            for processes in (1, RANKS)
            for turn in (partial(_rate, names, steps, processes), partial(_by_hand, steps, processes))
        ]
        rates = interleave(turns, QUICK_ROUNDS if quick else ROUNDS)
    one, several = rates["1"], rates[str(RANKS)]
    one_by_hand, several_by_hand = rates["1 by hand"], rates[f"{RANKS} by hand"]
    return [
        Figure(f"digits-cnn, a process with one thread and batches of {BATCH}", median(one), "samples/s"),
        Figure(f"digits-cnn, {RANKS} such processes together", median(several), "samples/s"),
        Figure(f"digits-cnn by hand, DDP in {RANKS} processes", median(several_by_hand), "samples/s"),
        Figure(f"{RANKS} processes / {RANKS} x one process", _scaling_of(several, one), ""),
        Figure(
            f"{RANKS} processes / {RANKS} x one process, by hand",
            _scaling_of(several_by_hand, one_by_hand),
            "",
        ),
        Figure(f"{RANKS} processes, ours / by hand", paired_ratio(several, several_by_hand).median, ""),
    ]


def _scaling_of(several: list[float], one: list[float]) -> float:
    return paired_ratio(several, one).median / RANKS


def _by_hand(steps: int, processes: int, _number: int) -> dict[str, float]:
    """Train with the hand-written loop; return the samples per second of all processes by their number."""
    loop = ["-m", "benchmarks.ddp_loop", str(BATCH), str(steps), str(LEFT_OUT)]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    printed = subprocess.run([sys.executable, *torchrun, *loop], check=True, stdout=subprocess.PIPE).stdout
    return {f"{processes} by hand": float(printed)}


def _rate(folders: Iterator[str], steps: int, processes: int, _number: int) -> dict[str, float]:
    """Train, and return the samples per second of all processes by their number."""
    runs = Path(next(folders))
    options = [word for each in SETTINGS for word in ("--set", each)]
    subprocess.run(
        [
            *[PROGRAM, "train", "digits-cnn", "--quiet", "--runs-dir", str(runs), "--name", "run"],
            *[*options, "--set", f"training.max_steps={LEFT_OUT + steps}", "--nproc", str(processes)],
        ],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    lines = map(json.loads, (runs / "run" / "metrics.jsonl").read_text().splitlines())
    times = {line["step"]: line["time"] for line in lines if line["kind"] == "train"}
    seconds = times[LEFT_OUT + steps] - times[LEFT_OUT]
    return {str(processes): steps * BATCH * processes / seconds}


def _channel(*, quick: bool) -> list[Figure]:
    """Cost of the channel without commands: of its calls alone, and in the steps of a whole training."""
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=60), wait_for_workers=False)
    leader = LeaderQueue(CommandQueue(), store, RANKS)
    follower = FollowerQueue(store, 1)
    calls = {"first process": leader.is_quiet, "every other process": follower.is_quiet}
    found = [
        Figure(f"the channel of commands in a step, {name}", _microseconds(call), "us", most=5.0)
        for name, call in calls.items()
    ]
    threads = torch.get_num_threads()
    epochs = 20 if quick else 60
    turns: list[Callable[[int], Mapping[str, float]]] = [
        lambda seed: {"without": _step(epochs, seed, None)},
        lambda seed: {"with": _step(epochs, seed, store)},
    ]
    times = interleave(turns, 3 if quick else 9)
    torch.set_num_threads(threads)
    ratio = paired_ratio(times["with"], times["without"])
    return [
        *found,
        Figure("digits-mlp, a step of a run without the channel", 1e6 * median(times["without"]), "us"),
        Figure("digits-mlp, a step with the channel / without", ratio.median, ""),
    ]


def _microseconds(call: Callable[[], bool]) -> float:
    begin = time.perf_counter()
    for _ in range(CALLS):
        call()
    return 1e6 * (time.perf_counter() - begin) / CALLS


def _step(epochs: int, seed: int, store: TCPStore | None) -> float:
    """Train in this process, as the first one if there is a store, and return the seconds of a step."""
    workload = Workload("digits-mlp", "digits-mlp", epochs, 1)
    setup, timer = build_setup(build(workload, epochs, seed), lambda phase: None), EpochTimer()
    commands = CommandQueue()
    with tempfile.TemporaryDirectory(prefix="torchconsole-") as folder:
        writer = AsyncCheckpointWriter(Path(folder), keep=1, emit=timer.emit)
        writer.start()
        state = TrainState(setup)
        manager = CheckpointManager(setup.preset.checkpoint, state, writer)
        channel = None if store is None else LeaderQueue(commands, store, RANKS)
        outcome = Trainer(setup, state, manager, commands, timer, channel).run()
    return (timer.end - timer.start) / (outcome.step or 1)
