"""The time that the console needs to draw the charts of a run, however long it is.

`python -m benchmarks.charts` prints it. An update is one more logged step, applied and drawn at 120x40: the
loss with its band, its evaluations and its marks, and the lr with its plan.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from benchmarks.figures import Figure
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.charts.run_scene import ChartSettings, run_axis, run_marks, run_panels
from torchconsole.tui.charts.stack import Scene, Stack
from torchconsole.tui.state import ConsoleState

POINTS = (300, 30_000, 1_000_000)
WIDTH, HEIGHT = 82, 32
"""Cells of the charts in a terminal of 120x40."""

UPDATES = 100
CHUNK = 250
EVALUATIONS = 50


def figures(*, quick: bool) -> list[Figure]:
    """Milliseconds of an update with few, many and very many points."""
    names = {300: "300", 30_000: "30,000", 1_000_000: "1,000,000"}
    return [
        Figure(
            f"drawing the charts of a run of {names[points]} logged steps", update_ms(points), "ms", most=20.0
        )
        for points in POINTS
        if not (quick and points > 100_000)
    ]


def update_ms(points: int) -> float:
    """Median milliseconds (CPU time) of an update of a run with so many logged steps."""
    state = _state(points)
    stack = Stack()
    seconds = []
    for number in range(UPDATES):
        event = _logged(np.arange(points + number + 1, points + number + 2), points)
        start = time.process_time()
        state.receive(event)
        run = state.run
        scene = Scene(
            panels=run_panels(state, ChartSettings()), x=run_axis(state), now=run.step, marks=run_marks(run)
        )
        stack.draw(scene, WIDTH, HEIGHT)
        seconds.append(time.process_time() - start)
    return 1000 * statistics.median(seconds)


def _state(points: int) -> ConsoleState:
    """Return the state of a live run that has logged so many of one and a half times as many steps."""
    state = ConsoleState(RunState(name="long", folder=""), connection="live")
    total = points * 3 // 2
    state.receive(ev.RunStarted(steps_per_epoch=max(1, total // 60), total_epochs=60, total_steps=total))
    ahead = np.linspace(1, total, 400).astype(int)
    state.receive(ev.SchedulePlanned(scheduled=Points.of(ahead.tolist(), _lr(ahead, total).tolist())))
    every = max(1, points // EVALUATIONS)
    for first in range(1, points + 1, CHUNK):
        steps = np.arange(first, min(points, first + CHUNK - 1) + 1)
        state.receive(_logged(steps, points))
        if steps[-1] // every > (first - 1) // every:
            loss = {"val/loss": float(0.3 + 2 / (1 + steps[-1] / points * 20))}
            step = int(steps[-1])
            state.receive(ev.EvaluationCompleted(step=step, epoch=1, metrics=loss, seconds=0.1))
    return state


def _logged(steps: np.ndarray, points: int) -> ev.MetricsLogged:
    noise = np.random.default_rng(int(steps[0]))
    loss = (0.05 + 2 / (1 + steps / points * 20)) * np.exp(noise.normal(0, 0.3, len(steps)))
    listed = steps.tolist()
    series = {
        "train/loss": Points.of(listed, loss.tolist()),
        "lr": Points.of(listed, _lr(steps, points * 3 // 2).tolist()),
    }
    return ev.MetricsLogged(step=listed[-1], epoch=1, active_seconds=listed[-1] / 100, series=series)


def _lr(steps: np.ndarray, total: int) -> np.ndarray:
    return 0.0005 * (1 + np.cos(np.pi * steps / total))


def main() -> None:
    """Print the figures."""
    for points in POINTS:
        print(f"{points:>9,} points: {update_ms(points):.2f} ms an update")


if __name__ == "__main__":
    main()
