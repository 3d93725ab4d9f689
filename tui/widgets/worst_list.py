"""The samples with the highest losses, a line each: the loss, what is true and predicted, and the file."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from torchconsole.engine.protocol.info import WorstSample
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_number
from torchconsole.tui.table import padded, shorten
from torchconsole.tui.widgets.frames import crop
from torchconsole.tui.widgets.lines import Line

_LOSS, _PROBABILITY = 9, 7
_NAMES = (5, 24)
_LEAST_PLACE = 10
_WITH_PROBABILITY_FROM = 50


def worst_table(samples: Sequence[WorstSample], width: int) -> tuple[Line, list[Line]]:
    """Return the heading and a line for each sample, within `width` cells.

    A prediction that is wrong has the color of errors.
    """
    has_probability = width >= _WITH_PROBABILITY_FROM and any(
        each.probability is not None for each in samples
    )
    beside = _LOSS + has_probability * _PROBABILITY
    widest = max(
        (cell_len(printable(text)) for each in samples for text in (each.label, each.predicted)), default=0
    )
    name = max(cell_len("predicted"), min(_NAMES[1], widest))
    name = max(_NAMES[0], min(name, (width - beside - _LEAST_PLACE - 4) // 2))
    place = max(1, width - beside - 2 * (name + 2))
    heading: Line = [(f"{'loss':<{_LOSS}}", "bold strong"), (_cell("true", name), "faint")]
    heading += [
        (_cell("predicted", name), "faint"),
        ("prob.  " * has_probability, "faint"),
        ("sample", "faint"),
    ]
    lines: list[Line] = []
    for each in samples:
        loss = "n/a" if each.loss is None else format_number(each.loss)
        line: Line = [(f"{loss:<{_LOSS}}", "bold strong"), (_cell(each.label, name), "text")]
        line.append((_cell(each.predicted, name), "val" if _is_wrong(each) else "text"))
        if has_probability:
            found = "n/a" if each.probability is None else f"{each.probability:.3f}"
            line.append((f"{found:<{_PROBABILITY}}", "muted"))
        line.append((shorten(printable(each.place), place, "start"), "muted"))
        lines.append(crop(line, width))
    return crop(heading, width), lines


def _is_wrong(sample: WorstSample) -> bool:
    return not sample.true and sample.label != sample.predicted


def _cell(text: str, width: int) -> str:
    return padded(shorten(printable(text), width), width + 2)
