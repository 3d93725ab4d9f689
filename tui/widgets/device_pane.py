"""The device pane: charts of the machine's last ten minutes, and what the machine is."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from torchconsole.engine.protocol.info import Telemetry
from torchconsole.engine.text import printable
from torchconsole.tui.device_history import SAMPLE_SECONDS, SAMPLES, metric_over_time
from torchconsole.tui.device_readings import (
    MEAN_OF_GPUS,
    Reading,
    data_remedy,
    data_verdict,
    other_processes,
    readings,
)
from torchconsole.tui.empty_texts import no_measurements
from torchconsole.tui.formatting import format_bytes, format_count, format_duration
from torchconsole.tui.screens.run_plan import Stage
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.step_shares import step_times
from torchconsole.tui.theme import paints
from torchconsole.tui.user_keys import key_hints
from torchconsole.tui.widgets.device_panel import machine_facts, reading_rows
from torchconsole.tui.widgets.frames import crop, fill, frame, history, rule
from torchconsole.tui.widgets.lines import Line, LineWidget, wrap
from torchconsole.tui.widgets.step_bar import step_frame

_MINUTES = 10
_GUTTER = 6
_MACHINE_ROWS = 5
_LEAST_CHART_ROWS = 4
_MOST_IN_TWO_COLUMNS = 10
_LONG_NAMES = {"temp": "temperature"}


@dataclass(frozen=True)
class _Chart:
    """A chart of shares from 0 to 1; `limit` is the label of 1."""

    title: str
    value: str
    value_tone: str
    remark: str
    shares: list[float | None]
    tone: str
    limit: str


class DevicePane(LineWidget):
    """A grid of charts above a step's parts and the facts; on a small screen meters with their history."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(id="device")
        self._state = state
        self.stage: Stage = "normal"

    def draw(self, width: int, height: int) -> list[Line]:
        """As many charts as there is room for."""
        shown = readings(self._state)
        if self.stage in ("tiny", "small"):
            return self._small(shown, width, height)
        disk = next((reading for reading in shown if reading.name == "disk"), None)
        shown = [reading for reading in shown if reading is not disk]
        machine = self._machine(width - 4, disk)
        machine_rows = min(len(machine) + 2, max(_MACHINE_ROWS, height // 4))
        last = f"last {_MINUTES} minutes, measured every {SAMPLE_SECONDS:.0f} s"
        below = [
            *self._step(width, boxed=True),
            *frame(machine, width, machine_rows, [("machine", "bold strong")], [(last, "faint")]),
        ]
        charts = [*self._reading_charts(shown), *self._speed_chart()]
        if not shown:
            empty = frame(
                [[(no_measurements(self._state), "faint")]],
                width,
                height - len(below),
                [("device", "bold strong")],
            )
            return [*empty, *below][:height]
        return [*_grid(charts, width, height - len(below)), *below][:height]

    def _small(self, shown: list[Reading], width: int, height: int) -> list[Line]:
        step = [] if self.stage == "tiny" else self._step(width, boxed=False)
        lines: list[Line] = [*step, rule(width, [("device", "bold strong")])]
        rows = height - len(lines)
        machine = self._machine(width - 2)
        kept = machine[: max(0, rows - 2 * len(shown))] if rows > 2 * len(shown) else []
        if shown:
            lines += [
                [(" ", "text"), *line]
                for line in reading_rows(self._state, shown, width - 2, rows - len(kept))[0]
            ]
        else:
            kept = [
                *([(piece, "faint")] for piece in wrap(no_measurements(self._state), width - 2)),
                *machine,
            ]
        return [*lines, *([(" ", "text"), *line] for line in kept)][:height]

    def _step(self, width: int, *, boxed: bool) -> list[Line]:
        if not self.is_attached:
            return step_frame(self._state, width, [], boxed=boxed)
        hint = key_hints(self.app, profile="profile") if self._state.is_steerable else []
        return step_frame(self._state, width, hint, boxed=boxed, lettered=not paints(self.app))

    def _reading_charts(self, shown: list[Reading]) -> list[_Chart]:
        samples = list(self._state.device_history.samples)
        charts = [
            _reading_chart(reading, samples, self._state) for reading in shown if reading.name != MEAN_OF_GPUS
        ]
        return [*charts[:1], *self._other_gpus(samples), *charts[1:]]

    def _other_gpus(self, samples: list[Telemetry]) -> list[_Chart]:
        """One chart for each GPU that the run may use besides the one it trains on."""
        telemetry, device = self._state.run.telemetry, self._state.run.device
        if telemetry is None or device is None or len(telemetry.gpus) < 2:
            return []
        trains = telemetry.gpu(device.device)
        charts = []
        for gpu in telemetry.gpus:
            if trains is not None and gpu.index == trains.index:
                continue
            shares = [_utilization_of(sample, gpu.index) for sample in samples]
            memory = "" if gpu.memory_used is None else f"{format_bytes(gpu.memory_used)} used"
            text = "n/a" if gpu.percent is None else f"{gpu.percent:.0f} %"
            charts.append(_Chart(f"GPU {gpu.index}", text, "text", memory, shares, "meterhist", "100"))
        return charts

    def _speed_chart(self) -> list[_Chart]:
        series = self._state.history.get("samples_per_sec")
        if not series or not len(series):
            return []
        values = series.values[np.isfinite(series.values)]
        if not len(values):
            return []
        top = float(values.max()) or 1.0
        remark = f"mean {format_count(float(values.mean()))}, at the start {format_count(float(values[0]))}"
        recent = metric_over_time(self._state, "samples_per_sec", SAMPLES)
        shares = [None if value is None else value / top for value in recent]
        text = f"{format_count(float(values[-1]))} samples/s"
        return [_Chart("speed", text, "bold train", remark, shares, "banddot", format_count(top))]

    def _machine(self, width: int, disk: Reading | None = None) -> list[Line]:
        """Return the facts, below the verdict about the data and the limitations of the device."""
        run = self._state.run
        lines: list[Line] = []
        if step_times(self._state) is None and (verdict := data_verdict(self._state)):
            lines += [[(piece, "attn")] for piece in wrap(f"! {verdict}; {data_remedy(self._state)}", width)]
        for note in run.device.notes if run.device else []:
            lines += [[(piece, "attn")] for piece in wrap(f"! {printable(note)}", width)]
        facts = machine_facts(run.device) if run.device else []
        if others := other_processes(self._state):
            facts.append(("others", others))
        if run.pid and run.is_live:
            host = f" on {printable(run.host)}" if run.host else ""
            facts.append(
                ("worker", f"pid {run.pid}{host}, trained for {format_duration(run.active_seconds)}")
            )
        facts.append(("folder", printable(run.folder)))
        if disk:
            facts.append(("disk", f"{disk.text} {disk.remark}"))
        return [*lines, *(crop([(f"{name:<8}", "muted"), (text, "text")], width) for name, text in facts)]


def _reading_chart(reading: Reading, samples: list[Telemetry], state: ConsoleState) -> _Chart:
    tone = "gooddim" if reading.tone == "good" else "meterhist"
    if reading.of is None:
        shares = metric_over_time(state, "data_wait", SAMPLES)
    else:
        shares = [reading.of(sample) for sample in samples]
    value_tone = reading.tone if reading.tone in ("good", "attn", "bad") else "strong"
    name = _LONG_NAMES.get(reading.name, reading.name)
    return _Chart(name, reading.text, f"bold {value_tone}", reading.remark, shares, tone, reading.limit)


def _utilization_of(sample: Telemetry, index: int) -> float | None:
    return next(
        (gpu.percent / 100 for gpu in sample.gpus if gpu.index == index and gpu.percent is not None), None
    )


def _grid(charts: list[_Chart], width: int, height: int) -> list[Line]:
    """Two columns of framed charts, three in a wide terminal."""
    columns = 3 if width >= 160 or len(charts) > _MOST_IN_TWO_COLUMNS else 2
    rows = max(1, min(-(-len(charts) // columns), height // _LEAST_CHART_ROWS))
    lines: list[Line] = []
    first = 0
    for row in range(rows):
        tall = height * (row + 1) // rows - height * row // rows
        edges = [width * column // columns for column in range(columns + 1)]
        drawn = [
            _drawn(charts[first + column] if first + column < len(charts) else None, right - left, tall)
            for column, (left, right) in enumerate(itertools.pairwise(edges))
        ]
        first += columns
        lines += [[span for part in parts for span in part] for parts in zip(*drawn, strict=True)]
    return lines


def _drawn(chart: _Chart | None, width: int, height: int) -> list[Line]:
    if chart is None:
        return [[(" " * width, "text")] for _ in range(height)]
    rows = height - 2
    columns = width - 4 - _GUTTER
    area = history(_resampled(chart.shares, columns), columns, rows)
    labels = [chart.limit if row == 0 else "0" if row == rows - 1 else "" for row in range(rows)]
    body: list[Line] = [
        [(f"{label:>{_GUTTER - 1}} ", "faint"), (text, chart.tone)]
        for label, text in zip(labels, area, strict=True)
    ]
    title: Line = [(chart.title, "bold strong"), (f"  {chart.value}", chart.value_tone)]
    return [fill(line, width) for line in frame(body, width, height, title, [(chart.remark, "faint")])]


def _resampled(shares: list[float | None], columns: int) -> list[float | None]:
    """Put ten minutes into the columns: each has the mean of its measurements."""
    total = round(60 * _MINUTES / SAMPLE_SECONDS)
    padded = [None] * (total - len(shares[-total:])) + shares[-total:]
    means: list[float | None] = []
    for column in range(columns):
        begin, end = (
            total * column // columns,
            max(total * column // columns + 1, total * (column + 1) // columns),
        )
        known = [share for share in padded[begin:end] if share is not None]
        means.append(sum(known) / len(known) if known else None)
    return means
