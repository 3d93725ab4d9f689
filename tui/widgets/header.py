"""The run screen's header: name, status, progress, speed, time left, and meters of the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torchconsole.engine.text import printable
from torchconsole.tui.device_readings import Reading, readings
from torchconsole.tui.formatting import format_count, format_duration, format_percent, format_speed
from torchconsole.tui.screens.run_plan import Stage
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.frames import crop, ends, level, meter
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width

SIGNS = {
    "starting": ("◐", "attn"),
    "running": ("●", "good"),
    "evaluating": ("◐", "train"),
    "pausing": ("◐", "attn"),
    "paused": ("‖", "attn"),
    "stopping": ("◐", "attn"),
    "finished": ("✓", "train"),
    "stopped": ("■", "muted"),
    "failed": ("✗", "bad"),
    "lost": ("✗", "bad"),
    "interrupted": ("✗", "bad"),
    "unreadable": ("✗", "bad"),
}
"""Status -> its sign and tone. These are all statuses that a badge shows."""

BADGE_WIDTH = 14

_BAR_TONES = {"running": "train", "evaluating": "train", "starting": "train", "finished": "good"}
"""Tones of the progress bar where they are not the badge's."""

_TIME_WIDTH, _SPEED_WIDTH = 7, 6
_MANY_EPOCHS = 10_000
"""From this many on, epochs are abbreviated: 18.5k."""

_WANTED_BAR, _LEAST_BAR = 13, 6
_NAME_WIDTHS = (40, 26, 18, 12, 8)
_METERS_FROM, _MORE_METERS_FROM, _UNIT_FROM = 110, 150, 100


def badge(status: str) -> Line:
    """Return the status as a badge of BADGE_WIDTH columns, so that nothing beside it moves."""
    sign, tone = SIGNS[status]
    return [(f" {sign} {status:<{BADGE_WIDTH - 3}}", f"bold ink on {tone}")]


class HeaderLine(LineWidget):
    """One line; two in a tiny terminal."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state
        self.stage: Stage = "normal"

    def draw(self, width: int, height: int) -> list[Line]:
        """The most complete line that fits."""
        if self.stage == "line":
            return [_one_line(self._state, width)]
        if self.stage == "tiny":
            return _tiny_lines(self._state, width)
        return [header_line(self._state, width)]


@dataclass(frozen=True)
class _Options:
    """What a header line contains."""

    name_width: int
    least_bar: int = _LEAST_BAR
    has_unit: bool = True
    has_steps: bool = True
    meters: int = 9
    short_epoch: bool = False
    has_speed: bool = True
    has_time: bool = True


def header_line(state: ConsoleState, width: int) -> Line:
    """Return the line, `width` columns wide. What is dropped first is documented by `_alternatives`."""
    for options in _alternatives(width, line_width([(printable(state.run.name), "text")])):
        left, right = _parts(state, options)
        room = width - 2 - line_width(left) - line_width(right)
        fraction = progress(state)
        if fraction is None:
            if room >= 1:
                return [(" ", "text"), *left, (" " * room, "text"), *right, (" ", "text")]
        elif room - 6 >= options.least_bar:
            columns = room - 6
            tone = _BAR_TONES.get(state.status, SIGNS[state.status][1])
            bar: Line = [(" ", "text"), *meter(fraction, columns, tone)]
            percent = (f" {format_percent(fraction):>4}", "bold strong")
            return [(" ", "text"), *left, *bar, percent, *right, (" ", "text")]
    return crop(
        [(" ", "text"), *badge(state.status), (" ", "text"), (printable(state.run.name), "text")], width
    )


def _alternatives(width: int, name: int) -> Iterator[_Options]:
    """Drop the unit of the speed, the end of a long name, the meters, more of the name, speed and time."""
    meters = 9 if width >= _MORE_METERS_FROM else 3 if width >= _METERS_FROM else 0
    base = {"has_steps": width >= _MORE_METERS_FROM, "short_epoch": width < _UNIT_FROM}
    names = [least for least in _NAME_WIDTHS if least < name] or [name]
    whole = min(name, _NAME_WIDTHS[0])
    for name_width, unit, shown, bar in (
        (whole, width >= _UNIT_FROM, meters, _WANTED_BAR),
        (whole, False, meters, _WANTED_BAR),
        (min(whole, 26), False, meters, _LEAST_BAR),
        (min(whole, 22), False, meters, _LEAST_BAR),
        (min(whole, 22), False, min(meters, 3), _LEAST_BAR),
        (min(whole, 18), False, min(meters, 3), _LEAST_BAR),
        (min(whole, 18), False, min(meters, 1), _LEAST_BAR),
        (min(whole, 18), False, 0, _LEAST_BAR),
    ):
        yield _Options(name_width, bar, unit, meters=shown, **base)
    for name_width in names:
        yield _Options(min(whole, name_width), 4, False, False, 0, True)
    yield _Options(min(whole, 12), 4, False, False, 0, True, has_speed=False)
    yield _Options(min(whole, 8), 4, False, False, 0, True, has_speed=False, has_time=False)


def _parts(state: ConsoleState, options: _Options) -> tuple[Line, Line]:
    """Return what is at the left and at the right of the progress bar."""
    name = shorten(printable(state.run.name), options.name_width, "middle")
    left: Line = [(name, "bold strong"), ("  ", "text"), *badge(state.status), ("  ", "text")]
    if state.read_only and state.run.is_live:
        left += [("read-only", "attn"), ("  ", "text")]
    left += _epoch(state, short=options.short_epoch)
    if options.has_steps:
        left += _steps(state)
    right: Line = []
    if options.has_speed:
        right += _speed(state, has_unit=options.has_unit)
    if options.has_time:
        right += _time(state)
    if options.meters:
        right += _meters(state, options.meters)
    return left, right


def progress(state: ConsoleState) -> float | None:
    """Return the share of the run's steps that are done; None if their number is unknown."""
    run = state.run
    if not run.total_steps:
        return 0.0 if run.status == "starting" else None
    return min(1.0, run.step / run.total_steps)


def _epoch(state: ConsoleState, *, short: bool) -> Line:
    """`epoch 39/60`, or the step where there is no number of epochs."""
    run = state.run
    if run.total_epochs:
        is_many = run.total_epochs >= _MANY_EPOCHS
        total = format_count(run.total_epochs) if is_many else f"{run.total_epochs:,}"
        text = f"{format_count(run.epoch):>5}" if is_many else f"{run.epoch:>{len(total)},}"
        return [("ep " if short else "epoch ", "muted"), (text, "bold strong"), (f"/{total}", "muted")]
    if run.steps_per_epoch:
        return [("ep " if short else "epoch ", "muted"), (f"{run.epoch:,}", "bold strong")]
    return [("step ", "muted"), (f"{run.step:,}", "bold strong")]


def _steps(state: ConsoleState) -> Line:
    run = state.run
    if not run.steps_per_epoch:
        return []
    total = f"{run.total_steps:,}" if run.total_steps else ""
    return [
        ("  step ", "muted"),
        (f"{run.step:>{len(total)},}", "bold strong"),
        (f"/{total}" if total else "", "muted"),
    ]


def _speed(state: ConsoleState, *, has_unit: bool) -> Line:
    """The samples per second. A run that is not training has none."""
    speed = state.run.metrics.get("samples_per_sec")
    if speed is None or state.status not in ("running", "evaluating"):
        return []
    return [
        (f"  {format_speed(speed):>{_SPEED_WIDTH}}", "strong"),
        (" samples/s" if has_unit else "/s", "muted"),
    ]


def _time(state: ConsoleState) -> Line:
    """The time left; of an ended run, how long it took."""
    if state.run.is_live:
        left = state.eta_seconds
        return [
            ("  ETA ", "muted"),
            (f"{'-' if left is None else format_duration(left):>{_TIME_WIDTH}}", "bold strong"),
        ]
    seconds = state.active_seconds
    return [("  took ", "muted"), (format_duration(seconds), "bold strong")] if seconds else []


def _meters(state: ConsoleState, most: int) -> Line:
    """`GPU ▇ 98%  mem ▂ 31G  70°`, of a CPU `CPU ▅ 45%  RAM ▂ 15G`."""
    shown = {reading.name: reading for reading in readings(state)}
    names = ("GPU", "memory", "temp", "CPU", "data wait") if "GPU" in shown else ("CPU", "RAM", "data wait")
    line: Line = []
    for name in names[: most if "GPU" in shown or most > 3 else most - most // 3]:
        if name in shown:
            line += _meter_entry(shown[name])
    return line


def _meter_entry(reading: Reading) -> Line:
    label = {"memory": "mem ", "data wait": "wait ", "temp": ""}.get(reading.name, f"{reading.name} ")
    text = reading.text.replace(" %", "%").replace(" °C", "°")
    if text.endswith("G") and "/" in text:
        text = f"{round(float(text.partition('/')[0]))}G"
    tone = reading.tone if reading.tone in ("good", "attn", "bad") else "meter"
    value_tone = "faint" if text == "n/a" else reading.tone if reading.tone in ("attn", "bad") else "strong"
    if not label:
        return [(f"  {text:>3}", value_tone)]
    block: Line = [(level(reading.share), f"{tone} on meterdim"), (" ", "text")]
    return [(f"  {label}", "muted"), *block, (f"{text:>4}", value_tone)]


def _tiny_lines(state: ConsoleState, width: int) -> list[Line]:
    """Name, badge and time left; below, the epoch, a bar and the percentage."""
    time_left = _time(state)
    room = width - BADGE_WIDTH - 5 - line_width(time_left)
    name = shorten(printable(state.run.name), max(4, room), "middle")
    first = ends(
        [(" ", "text"), (name, "bold strong"), ("  ", "text"), *badge(state.status)], time_left, width - 1
    )
    epoch: Line = [(" ", "text"), *_epoch(state, short=True), (" ", "text")]
    fraction = progress(state)
    if fraction is None:
        return [first, crop(epoch, width)]
    columns = max(0, width - line_width(epoch) - 6)
    tone = _BAR_TONES.get(state.status, SIGNS[state.status][1])
    percent = (f" {format_percent(fraction):>4}", "bold strong")
    return [first, [*epoch, *meter(fraction, columns, tone), percent]]


def _one_line(state: ConsoleState, width: int) -> Line:
    """What matters most, for a terminal that has no room for more."""
    sign, tone = SIGNS[state.status]
    line: Line = [(f"{sign} {state.status}", f"bold {tone}")]
    fraction = progress(state)
    if fraction is not None:
        line.append((f" {format_percent(fraction)}", "bold strong"))
    loss = next(iter(state.run.losses.values()), None)
    left = state.eta_seconds
    if left is not None and state.run.is_live:
        line += [(" ETA ", "muted"), (format_duration(left), "bold strong")]
    if loss is not None:
        line += [(" loss ", "muted"), (f"{loss:.4g}", "train")]
    return crop([*line, (f" {printable(state.run.name)}", "muted")], width)
