"""A scripted run: a client whose events and answers a test controls, with realistic data."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from torchconsole.engine.errors import CommandRejectedError, TorchconsoleError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.info import (
    Best,
    ConfusionMatrix,
    DeviceInfo,
    EarlyStoppingInfo,
    GpuInfo,
    GpuLoad,
    LayerInfo,
    ModelSummary,
    Telemetry,
)
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import History, RunState, apply
from torchconsole.engine.run.recorded_history import Progress

NOON = 1_750_000_000.0
"""The time of all events, in seconds since the epoch: 15:06:40 UTC."""

FOLDER = Path("/home/user/runs/digits-cnn-20250615-150640")
STEPS_PER_EPOCH, EPOCHS = 23, 60

DEVICE = DeviceInfo(
    device="cuda:0",
    name="NVIDIA H200",
    torch="2.13.0+cu130",
    cuda="13.0",
    cudnn="9.15.0",
    threads=8,
    cpu="AMD EPYC 9654",
    cpu_count=16,
    memory_total=128 * 2**30,
    gpus=[GpuInfo(index=0, name="NVIDIA H200", memory_total=139 * 2**30)],
)
TELEMETRY = Telemetry(
    cpu_percent=12,
    process_cpu_percent=104,
    process_memory=int(1.5 * 2**30),
    memory_used=20 * 2**30,
    memory_total=128 * 2**30,
    loaders=2,
    loaders_memory=2**30,
    disk_free=400 * 2**30,
    disk_total=1000 * 2**30,
    gpus=[
        GpuLoad(
            index=0,
            percent=87,
            memory_used=5 * 2**30,
            memory_total=139 * 2**30,
            memory_ours=3 * 2**30,
            temperature=54,
            temperature_limit=87,
            power=508,
            power_limit=700,
        )
    ],
)
LAYERS = (
    ("features", "Sequential", 0, [64, 2, 2], 18944, 0),
    ("features.0", "Conv2d", 1, [32, 8, 8], 288, 18432),
    ("features.1", "BatchNorm2d", 1, [32, 8, 8], 64, 0),
    ("features.2", "ReLU", 1, [32, 8, 8], 0, 0),
    ("features.3", "MaxPool2d", 1, [32, 4, 4], 0, 0),
    ("features.4", "Conv2d", 1, [64, 4, 4], 18432, 294912),
    ("features.5", "BatchNorm2d", 1, [64, 4, 4], 128, 0),
    ("features.6", "ReLU", 1, [64, 4, 4], 0, 0),
    ("classifier", "Linear", 0, [10], 2570, 2560),
)
SUMMARY = ModelSummary(
    layers=[
        LayerInfo(name=n, type=t, depth=d, output_shape=s, params=p, trainable=p, macs=m)
        for n, t, d, s, p, m in LAYERS
    ],
    params=21482,
    trainable=21482,
    macs=315904,
    input_shape=[1, 8, 8],
)


def scheduled_lr(step: int) -> float:
    """Return the lr of a linear warm-up followed by a cosine."""
    if step < 46:
        return 0.0003 + 0.0027 * step / 46
    return 0.0015 * (1 + math.cos(math.pi * (step - 46) / (STEPS_PER_EPOCH * EPOCHS - 46)))


AHEAD = range(1, STEPS_PER_EPOCH * EPOCHS + 1, 10)
BEGINNING: tuple[ev.Event, ...] = (
    ev.DeviceDescribed(device=DEVICE, time=NOON),
    ev.TelemetryMeasured(telemetry=TELEMETRY, time=NOON),
    ev.ModelSummarized(summary=SUMMARY, time=NOON),
    ev.LogWritten(message="training on cuda:0", time=NOON),
    ev.RunStarted(
        steps_per_epoch=STEPS_PER_EPOCH, total_epochs=EPOCHS, total_steps=STEPS_PER_EPOCH * EPOCHS, time=NOON
    ),
    ev.SchedulePlanned(scheduled=Points.of(AHEAD, map(scheduled_lr, AHEAD)), time=NOON),
    ev.PhaseChanged(phase="training", time=NOON),
)


def train_loss(step: int) -> float:
    """Return a falling loss with a fixed ripple."""
    return 2.1 * math.exp(-step / 60) + 0.3 + 0.08 * math.sin(step * 1.7)


def logged(first: int, last: int) -> ev.MetricsLogged:
    """Return the training metrics of steps `first` to `last`, at fifty steps a second."""
    steps = range(first, last + 1)
    series = {
        "train/loss": Points.of(steps, map(train_loss, steps)),
        "lr": Points.of(steps, map(scheduled_lr, steps)),
        "samples_per_sec": Points.of(steps, [3200.0] * len(steps)),
    }
    epoch = (last - 1) // STEPS_PER_EPOCH + 1
    return ev.MetricsLogged(step=last, epoch=epoch, active_seconds=last / 50, series=series, time=NOON)


def confusion(epoch: int) -> ConfusionMatrix:
    """Return a matrix of ten digits with 36 samples each. Fewer are misclassified in later epochs."""
    wrong = 20 // epoch
    counts: list[list[int | float]] = [[0] * 10 for _ in range(10)]
    for digit in range(10):
        counts[digit][digit], counts[digit][(digit + 1) % 10] = 36 - wrong, wrong
    return ConfusionMatrix(classes=list("0123456789"), counts=counts)


def epoch_ended(epoch: int, counter: int = 0) -> list[ev.Event]:
    """Return an evaluation, the `counter`-th without improvement, with the events that follow it."""
    step = epoch * STEPS_PER_EPOCH
    best_step = step - counter * STEPS_PER_EPOCH
    best = Best(metric="val/loss", value=train_loss(best_step) + 0.1, step=best_step)
    loss = best.value + counter * 0.02
    stopping = EarlyStoppingInfo(
        monitor="val/loss",
        mode="min",
        patience=7,
        min_delta=0.001,
        counter=counter,
        best=best.value,
        best_step=best.step,
        target=best.value - 0.001,
    )
    metrics = {"val/loss": loss, "val/accuracy": 1 - loss / 3}
    saved = ev.CheckpointSaved(
        step=step, epoch=epoch, name=f"step-{step:08}", reason="best", best=best, time=NOON
    )
    return [
        ev.EvaluationCompleted(
            step=step, epoch=epoch, metrics=metrics, seconds=0.1, confusion=confusion(epoch), time=NOON
        ),
        ev.EarlyStoppingUpdated(step=step, early_stopping=stopping, time=NOON),
        *([] if counter else [saved]),
    ]


def epochs_without_improvement(first: int, last: int) -> list[ev.Event]:
    """Return the events of full epochs, none better than the epoch before `first`."""
    events: list[ev.Event] = []
    for epoch in range(first, last + 1):
        events.append(logged((epoch - 1) * STEPS_PER_EPOCH + 1, epoch * STEPS_PER_EPOCH))
        events.extend(epoch_ended(epoch, counter=epoch - first + 1))
    return events


def epochs(first: int, last: int) -> list[ev.Event]:
    """Return the events of full epochs, each better than the one before."""
    events: list[ev.Event] = []
    for epoch in range(first, last + 1):
        events.append(logged((epoch - 1) * STEPS_PER_EPOCH + 1, epoch * STEPS_PER_EPOCH))
        events.extend(epoch_ended(epoch))
    return events


class ScriptedRun:
    """The console's counterpart: `emit` sends events, `commands` records commands, `answer` replies."""

    def __init__(self, *history: ev.Event, live: bool = True) -> None:
        state = RunState(name=FOLDER.name, folder=str(FOLDER), title="Digits, small CNN", created=NOON)
        state.config = {"early_stopping": {"patience": 7}}
        self._history: History = {}
        for event in history:
            apply(state, self._history, event)
        points = {name: series.to_points() for name, series in self._history.items()}
        self.snapshot = Snapshot(state=state, history=points)
        self.live = live
        self.read_only = ""
        self.commands: list[Command] = []
        self.opened = 0
        self.unreachable: TorchconsoleError | None = None
        self._events: asyncio.Queue[ev.Event | Snapshot | Exception | None] = asyncio.Queue()
        self._unanswered: list[tuple[Command, asyncio.Future[ev.CommandApplied]]] = []

    @asynccontextmanager
    async def open(self, progress: Progress) -> AsyncIterator[ScriptedRun]:
        """Open one connection."""
        self.opened += 1
        if self.unreachable:
            raise self.unreachable
        yield self

    async def events(self) -> AsyncIterator[ev.Event | Snapshot]:
        """Yield what `emit` sent, until `hang_up`."""
        while self.live and (event := await self._events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    async def send(self, command: Command) -> ev.CommandApplied:
        """Record the command and wait for the test's answer."""
        self.commands.append(command)
        answer: asyncio.Future[ev.CommandApplied] = asyncio.get_running_loop().create_future()
        self._unanswered.append((command, answer))
        return await answer

    @property
    def all_received(self) -> bool:
        """Whether the console has received every event so far."""
        return self._events.empty()

    def emit(self, *events: ev.Event | Snapshot) -> None:
        """Send events to the console."""
        for event in events:
            self._events.put_nowait(event)

    def hang_up(self, error: Exception | None = None) -> None:
        """End the events, with an error or as after the end of a run."""
        self._events.put_nowait(error)

    def answer(self, step: int, detail: str, result: dict[str, float] | None = None) -> None:
        """Answer the oldest unanswered command as applied."""
        command, answer = self._unanswered.pop(0)
        applied = ev.CommandApplied(
            id="1", command=command, step=step, by="me@pts/1", detail=detail, result=result or {}, time=NOON
        )
        self.emit(applied)
        answer.set_result(applied)

    def reject(self, reason: str) -> None:
        """Reject the oldest unanswered command."""
        self._unanswered.pop(0)[1].set_exception(CommandRejectedError(reason))

    def fail_to_answer(self, error: TorchconsoleError) -> None:
        """Raise an error in place of an answer to the oldest unanswered command."""
        self._unanswered.pop(0)[1].set_exception(error)


def running() -> ScriptedRun:
    """Return a run in its fifth epoch, with a constant lr of 0.01."""
    run = ScriptedRun(*BEGINNING, *epochs(1, 4))
    run.snapshot.state.metrics["lr"] = 0.01
    return run
