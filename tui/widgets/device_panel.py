"""The device panel: meters of the machine's load with a minute of history; on a small screen one line."""

from __future__ import annotations

from collections.abc import Sequence

from torchconsole.engine.protocol.info import DeviceInfo
from torchconsole.engine.text import printable
from torchconsole.tui.device_history import SAMPLE_SECONDS, metric_over_time
from torchconsole.tui.device_readings import Reading, data_remedy, data_verdict, readings
from torchconsole.tui.formatting import format_lr
from torchconsole.tui.line_speed import draws
from torchconsole.tui.screens.run_plan import Stage
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.early_stopping import left_span
from torchconsole.tui.widgets.frames import crop, ends, fill, frame, history, meter
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width, wrap

_NAME, _VALUE = 10, 11
_HISTORY_ROWS = 2
_INNER_NORMAL = 34


class DevicePanel(LineWidget):
    """Meters in a frame; below 100 columns the most important of them on one line."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state
        self.stage: Stage = "normal"

    def draw(self, width: int, height: int) -> list[Line]:
        """The meters that fit; those of the highest rank are left out first."""
        if self.stage in ("tiny", "small"):
            return [small_line(self._state, width, is_tiny=self.stage == "tiny")]
        device, inner = self._state.run.device, width - 4
        title: Line = [("device", "bold strong")]
        if device is not None:
            title.append((f" {_short_name(device)}", "muted"))
        shown = readings(self._state)
        rows = height - 2
        notes = _notes(self._state, inner)[: max(0, rows - 3)]
        if not shown:
            return frame(_facts(device, inner)[:rows] + notes, width, height, title)
        if self.stage == "large":
            body, seconds = self._large(shown, inner, rows - len(notes))
        else:
            body, seconds = self._normal(shown, inner, rows - len(notes))
        return frame([*body, *notes], width, height, title, [(f"{seconds} s", "faint")] if seconds else None)

    def _normal(self, shown: list[Reading], width: int, rows: int) -> tuple[list[Line], int]:
        """The history of the first reading above the meters."""
        top = _HISTORY_ROWS if rows >= len(shown) + _HISTORY_ROWS else 0
        kept = _most_important(shown, rows - top)
        lines = [_meter_line(reading, width) for reading in kept]
        if not top:
            return lines, 0
        samples = self._state.device_history.last(width)
        tone = "gooddim" if shown[0].name == "GPU" else "meterhist"
        area = history([shown[0].of(sample) if shown[0].of else None for sample in samples], width, top)
        if not draws(self.app, "device history"):
            return [*([(" " * width, "text")] for _ in area), *lines], 0
        return [*([(row, tone)] for row in area), *lines], round(width * SAMPLE_SECONDS)

    def _large(self, shown: list[Reading], width: int, rows: int) -> tuple[list[Line], int]:
        """Two rows for each reading, with its history at the right."""
        if draws(self.app, "device history"):
            return reading_rows(self._state, shown, width, rows)
        return reading_rows(self._state, shown, width, rows, seconds=0)


def reading_rows(
    state: ConsoleState, shown: list[Reading], width: int, rows: int, seconds: int = 60
) -> tuple[list[Line], int]:
    """Return two rows for each reading, or one where rows are few, and the seconds of the histories."""
    each = 2 if rows >= 2 * len(shown) else 1
    kept = _most_important(shown, rows // each)
    left = width * 4 // 9
    columns = min(width - left - 1, round(seconds / SAMPLE_SECONDS))
    samples = state.device_history.last(columns)
    lines: list[Line] = []
    for reading in kept:
        tone = "gooddim" if reading.tone == "good" else "meterhist"
        if reading.of is None:
            fractions = metric_over_time(state, "data_wait", columns)
        else:
            fractions = [reading.of(sample) for sample in samples]
        area = history(fractions, columns, each)
        if each == 1:
            lines.append([*_meter_line(reading, width - columns - 2), ("  ", "text"), (area[0], tone)])
            continue
        gap = " " * (width - left - columns)
        head = ends([(reading.name, "muted")], [(reading.text, _text_tone(reading))], left)
        lines.append([*head, (gap, "text"), (area[0], tone)])
        lines.append([*_bar(reading, left), (gap, "text"), (area[1], tone)])
    return lines, round(columns * SAMPLE_SECONDS)


def device_rows(state: ConsoleState, stage: Stage) -> int:
    """Return the rows that the panel needs with its frame."""
    shown = readings(state)
    notes = len(_notes(state, _INNER_NORMAL))
    if not shown:
        return 2 + max(1, len(_facts(state.run.device, _INNER_NORMAL)) + notes)
    return 2 + notes + (2 * len(shown) if stage == "large" else len(shown) + _HISTORY_ROWS)


def _most_important(shown: Sequence[Reading], count: int) -> list[Reading]:
    kept = sorted(shown, key=lambda reading: reading.rank)[: max(0, count)]
    return [reading for reading in shown if reading in kept]


def _meter_line(reading: Reading, width: int) -> Line:
    value = f"{reading.text:>{_VALUE}}"
    columns = width - _NAME - len(value)
    if columns < 3:
        return ends([(reading.name, "muted")], [(reading.text, _text_tone(reading))], width)
    name = f"{shorten(reading.name, _NAME - 1):<{_NAME}}"
    return [(name, "muted"), *_bar(reading, columns), (value, _text_tone(reading))]


def _bar(reading: Reading, columns: int) -> Line:
    """The share as a bar. What others hold is drawn in another tone than what the run itself holds."""
    if reading.own is None or reading.share is None or reading.own >= reading.share:
        return meter(reading.share, columns, reading.tone)
    own = round(reading.own * columns)
    others = max(0, round(reading.share * columns) - own)
    rest = columns - own - others
    spans = [("━" * own, reading.tone), ("━" * others, "meterhist"), ("━" * rest, "meterdim")]
    return [span for span in spans if span[0]]


def _text_tone(reading: Reading) -> str:
    if reading.text == "n/a":
        return "faint"
    return reading.tone if reading.tone in ("attn", "bad") else "text"


def _notes(state: ConsoleState, width: int) -> list[Line]:
    """Return the verdict about the data, and the limitations of the device."""
    notes: list[Line] = []
    if verdict := data_verdict(state):
        pieces = wrap(f"! {verdict}; {data_remedy(state)}", width)
        notes += [[(piece, "attn")] for piece in pieces]
    device = state.run.device
    for note in device.notes if device else []:
        notes += [[(piece, "attn")] for piece in wrap(f"! {printable(note)}", width)]
    return notes


def _facts(device: DeviceInfo | None, width: int) -> list[Line]:
    """Return what is known without measurements."""
    if device is None:
        return [[("not chosen yet", "faint")]]
    return [
        crop([(f"{name:<{_NAME}}", "muted"), (text, "text")], width) for name, text in machine_facts(device)
    ]


def machine_facts(device: DeviceInfo) -> list[tuple[str, str]]:
    """Return names and texts: the GPU, the CPU and the software."""
    facts = []
    if device.device.startswith("cuda"):
        others = f", 1 of {len(device.gpus)}" if len(device.gpus) > 1 else ""
        facts.append((printable(device.device), f"{printable(device.name)}{others}"))
    threads = f"{device.threads} thread{'s' * (device.threads != 1)} of {device.cpu_count}"
    facts.append(("cpu", f"{printable(device.cpu)}, {threads}"))
    torch = f"{device.torch}, CUDA {device.cuda}" if device.cuda else f"{device.torch}, no CUDA"
    facts.append(("torch", printable(f"{torch}, cuDNN {device.cudnn}" if device.cudnn else torch)))
    return facts


def _short_name(device: DeviceInfo) -> str:
    name = printable(device.name).removeprefix("NVIDIA ")
    if len(device.gpus) > 1:
        return f"{name}, 1 of {len(device.gpus)}"
    return name


def small_line(state: ConsoleState, width: int, *, is_tiny: bool) -> Line:
    """`GPU ━━━━━━ 98%  mem ━── 31/141G  71°  512W  CPU 41%  RAM 14/128G`, on tiny screens less."""
    shown = {reading.name: reading for reading in readings(state)}
    line: Line = [(" ", "text")]
    if is_tiny:
        line += _tiny_steering(state)
    if not shown and not is_tiny:
        device = state.run.device
        text = "" if device is None else f"{printable(device.device)} {printable(device.name)}"
        return crop([*line, (text, "faint")], width)
    for name, label, bar in (
        ("GPU", "GPU", 8),
        ("memory", "mem", 8),
        ("temp", "", 0),
        ("power", "", 0),
        ("CPU", "CPU", 0 if "GPU" in shown else 8),
        ("RAM", "RAM", 0 if "GPU" in shown else 8),
        ("disk", "disk", 0),
        ("data wait", "wait", 0),
    ):
        # The small metrics panel shows the wait for data.
        unshown = ("memory", "power", "RAM", "disk") if is_tiny else ("data wait",)
        if name not in shown or name in unshown:
            continue
        reading = shown[name]
        entry: Line = [(f"{label} ", "muted")] if label else []
        if bar and not is_tiny:
            entry += [*_bar(reading, bar), (" ", "text")]
        entry.append((f"{_compact(reading):>4}", _text_tone(reading)))
        if line_width(line) + line_width(entry) + 1 > width:
            break
        line += [*entry, ("  ", "text")]
    return fill(line, width)


def _compact(reading: Reading) -> str:
    return reading.text.replace(" %", "%").replace(" °C", "°").replace(" free", "")


def _tiny_steering(state: ConsoleState) -> Line:
    """The lr and the evaluations left until early stopping."""
    run = state.run
    line: Line = (
        [] if run.lr is None else [("lr ", "muted"), (format_lr(run.lr), "bold steer"), ("  ", "text")]
    )
    if run.early_stopping is not None and run.config.get("early_stopping"):
        line += [("stop ", "muted"), *left_span(run.early_stopping), ("  ", "text")]
    return line
