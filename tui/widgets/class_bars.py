"""Lines about single classes and pairs of them: figures with bars, and what is mistaken for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from torchconsole.tui.confusion import ClassScore, Confusion, Measure
from torchconsole.tui.table import padded, shorten
from torchconsole.tui.widgets.frames import meter
from torchconsole.tui.widgets.lines import Line

_LOW = 0.9
"""Figures below this are in the color of what is to be looked at."""

_CHANGE = 0.0005
_WIDEST_BAR = 60
_NAMES = (6, 20)


def bars(
    scores: Sequence[ClassScore], measure: Measure, before: Mapping[str, float | None], width: int, rows: int
) -> list[Line]:
    """Return a heading and a line for each class that has room: recall as a bar, precision, support."""
    support = max([len(_count(score.support)) for score in scores] + [4])
    name = max(_NAMES[0], min(12, width - 26 - support, max(cell_len(score.name) for score in scores)))
    columns = max(3, width - name - 17 - support)
    shown: Measure = "recall" if measure in ("class", "support", "precision", "recall") else measure
    heading: Line = [(padded("class", name), "faint"), (f" {padded(shown, columns + 8)}", "faint")]
    heading += [("prec. ", "faint"), (f"{'n':>{support}}", "faint")]
    lines = [heading]
    for score in scores[: max(0, rows - 1)]:
        value = score.figure(shown)
        line: Line = [(padded(shorten(score.name, name), name), "text"), (" ", "text")]
        line += meter(value, columns, _tone(value)) if value is not None else [(" " * columns, "text")]
        line += [(f" {_share(value)}", "bold strong"), _arrow(score, before)]
        line += [(f"{_share(score.precision)} ", "muted"), (f"{_count(score.support):>{support}}", "faint")]
        lines.append(line)
    return lines


def class_table(scores: Sequence[ClassScore], measure: Measure, width: int) -> tuple[Line, list[Line]]:
    """Return the heading and a line for each class, with a bar for recall, precision and support."""
    support = max([len(_count(score.support)) for score in scores] + [7])
    names = max(cell_len(score.name) for score in scores)
    name = max(_NAMES[0], min(_NAMES[1], width // 4, max(5, names)))
    columns = max(2, (width - name - 2 * 9 - 8 - support - 3) // 3)
    most = max([score.support or 0 for score in scores] + [1])
    heading: Line = [(padded("class", name), "faint")]
    for title, size in (
        ("recall", columns + 9),
        ("precision", columns + 9),
        ("f1", 8),
        ("support", columns + support),
    ):
        is_sorted = title == measure
        heading.append((f" {padded(title, size - 1)}", "bold strong" if is_sorted else "faint"))
    lines: list[Line] = []
    for score in scores:
        line: Line = [(padded(shorten(score.name, name), name), "text")]
        for value in (score.recall, score.precision):
            line += [
                (" ", "text"),
                *_bar(value, columns, _tone(value)),
                (f" {_share(value)}  ", "bold strong"),
            ]
        line += [(f" {_share(score.f1)}  ", "muted")]
        part = None if score.support is None else score.support / most
        line += [*_bar(part, columns, "meter"), (f" {_count(score.support):>{support}}", "text")]
        lines.append(line)
    return heading, lines


def confusion_list(
    pairs: Sequence[Confusion], names: Sequence[str], width: int, *, in_words: bool = False
) -> list[Line]:
    """Return a line for each pair: `cat → dog ━━━━ 104`, or with words for what that means."""
    if not pairs:
        return []
    most = max(pair.count for pair in pairs)
    counts = [_count(pair.count) for pair in pairs]
    last = max(map(len, counts))
    widest = max(cell_len(names[index]) for pair in pairs for index in (pair.true, pair.predicted))
    words = " taken for " if in_words else " → "
    tail = len("  10.4 % of 1,000") if in_words else 0
    name = max(3, min(_NAMES[1], widest, (width - last - len(words) - tail - 8) // 2))
    columns = max(3, min(_WIDEST_BAR, width - 2 * name - len(words) - last - tail - 2))
    lines: list[Line] = []
    for pair, count in zip(pairs, counts, strict=True):
        line: Line = [(padded(shorten(names[pair.true], name), name), "text"), (words, "faint")]
        line += [(padded(shorten(names[pair.predicted], name), name), "text"), (" ", "text")]
        line += [*meter(pair.count / most, columns, "val"), (f" {count:>{last}}", "bold strong")]
        if in_words and pair.share is not None:
            line.append((f"  {100 * pair.share:.1f} % of them", "muted"))
        lines.append(line)
    return lines


def _bar(value: float | None, columns: int, tone: str) -> Line:
    return [(" " * columns, "text")] if value is None else meter(value, columns, tone)


def _tone(value: float | None) -> str:
    return "val" if value is not None and value < _LOW else "meter"


def _share(value: float | None) -> str:
    return "  n/a" if value is None else f"{value:.3f}"


def _count(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,.0f}" if value == int(value) else f"{value:.3f}"


def _arrow(score: ClassScore, before: Mapping[str, float | None]) -> tuple[str, str]:
    """Return whether the recall has risen since the evaluation before."""
    old = before.get(score.name)
    if old is None or score.recall is None or abs(score.recall - old) < _CHANGE:
        return ("  ", "text")
    return ("↑ ", "good") if score.recall > old else ("↓ ", "attn")
