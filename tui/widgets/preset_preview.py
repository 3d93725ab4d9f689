"""The menu's preview of the highlighted preset: what it is about, its data, model, lr and runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torchconsole.engine.config.preset_index import PresetEntry
from torchconsole.engine.text import printable
from torchconsole.engine.user_folders import home_folder
from torchconsole.tui.formatting import format_metric
from torchconsole.tui.preset_rows import PresetFigures, data_look
from torchconsole.tui.run_rows import short_metric
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.frames import FramedLines, crop, framed, inner_size
from torchconsole.tui.widgets.lines import Line, wrap
from torchconsole.tui.widgets.small_charts import lr_curve

if TYPE_CHECKING:
    from torchconsole.engine.config.data_location import DataLocation
    from torchconsole.tui.preset_facts import PresetFacts

LEAST_CURVE, MOST_CURVE = 2, 5
"""Rows of the lr curve."""

NAME_WIDTH = 9
LONGEST_TEXT = 1500
LEAST_TEXT = 4
"""Lines of the description for which facts give way."""

GIVE_WAY = ("file", "folder", "loss", "schedule", "needs", "model", "before", "train", "data")
"""Names of facts, the first to be left out first."""


class PresetPreview(FramedLines):
    """The preset's description, its facts, its lr curve, and what its runs have reached."""

    def __init__(self) -> None:
        super().__init__()
        self._preset: PresetEntry | None = None
        self._place: DataLocation | None = None
        self._figures: PresetFigures | None = None
        self._facts: PresetFacts | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the facts of the preset that is shown have been read."""
        return self._facts is not None

    def show(
        self, preset: PresetEntry | None, place: DataLocation | None, figures: PresetFigures | None
    ) -> None:
        """Show a preset; `place` is None until its data has been looked for."""
        self._preset, self._place, self._figures = preset, place, figures
        if self._facts and (preset is None or preset.name != self._facts.name):
            self._facts = None
        self.redraw()

    def show_facts(self, facts: PresetFacts) -> None:
        """Show what was read from the preset's file, unless another one is shown by now."""
        if self._preset and self._preset.name == facts.name:
            self._facts = facts
            self.redraw()

    def about(self, width: int) -> list[Line]:
        """Return everything about the preset."""
        preset = self._preset
        if preset is None:
            return []
        described: list[Line] = [
            [(piece, "text")] for piece in wrap(printable(preset.description[:LONGEST_TEXT]), width)
        ]
        title: list[Line] = [[(preset.name, "bold strong")], [(printable(preset.title), "muted")], []]
        return [*title, *described, [], *self._all_facts(preset, width)]

    def _all_facts(self, preset: PresetEntry, width: int) -> list[Line]:
        facts = preset_lines(preset, self._place, self._figures, self._facts, width)
        return [line for lines in facts.values() for line in lines]

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the frame and the text."""
        preset = self._preset
        inner, rows = inner_size(width, height, boxed=self.boxed)
        if preset is None:
            return framed([], width, height, [], [], has_focus=False, boxed=self.boxed)
        body = self._body(preset, inner - 2, rows)
        sign, tone, needed = data_look(preset, self._place)
        remark: Line = [(f"{sign} {needed or 'ready'}", tone)] if sign.strip() else []
        title: Line = [(printable(preset.name[:200]), "bold strong")]
        return framed(
            [[(" ", "text"), *line] for line in body],
            width, height, title, remark, has_focus=False, boxed=self.boxed,
        )  # fmt: skip

    def _body(self, preset: PresetEntry, width: int, rows: int) -> list[Line]:
        """Draw the description, the facts and the lr; facts give way to the description in a fixed order."""
        description = preset.problem or preset.description or preset.title
        text = printable(description[:LONGEST_TEXT])
        tone = "bad" if preset.problem else "text"
        described: list[Line] = [[(piece, tone)] for piece in wrap(text, width)]
        facts = preset_lines(preset, self._place, self._figures, self._facts, width)
        least = min(len(described), LEAST_TEXT) + 1
        lr = self._facts.lr if self._facts else None
        for_lr = 0 if lr is None else LEAST_CURVE + 1
        if len(described) + 1 + sum(map(len, facts.values())) > rows - for_lr:
            facts = {name: _in_one(lines, width) for name, lines in facts.items()}
        for name in GIVE_WAY:
            if least + len(facts) > rows and name in facts:
                facts = {other: lines for other, lines in facts.items() if other != name}
        room = max(1, rows - sum(map(len, facts.values())) - 1)
        room = max(min(room, LEAST_TEXT), room - for_lr)
        if len(described) > room:
            described = [*described[: room - 1], crop([*described[room - 1], (" …", "faint")], width)]
        lines = [*described, [], *(line for own in facts.values() for line in own)]
        curve_rows = min(MOST_CURVE, rows - len(lines) - 1)
        if lr is not None and curve_rows >= LEAST_CURVE:
            of = "as scheduled" if self._facts and self._facts.is_planned else "of the newest run"
            lines.append([(f"{'lr':<{NAME_WIDTH}}", "muted"), (of, "faint")])
            lines += lr_curve(lr, width, curve_rows)
        return lines[:rows]


def preset_lines(
    preset: PresetEntry,
    place: DataLocation | None,
    figures: PresetFigures | None,
    facts: PresetFacts | None,
    width: int,
) -> dict[str, list[Line]]:
    """Return the lines below the description, by their names."""
    texts = {"data": _data(place), **(facts.texts if facts else {}), "needs": preset.needs}
    lines = {name: _wrapped(name, printable(text), width) for name, text in texts.items() if text}
    if figures:
        lines["before"] = [crop(_runs_before(figures), width)]
    path = shorten(printable(short_path(preset.path)), width - NAME_WIDTH, "start")
    lines["file"] = [[(f"{'file':<{NAME_WIDTH}}", "muted"), (path, "faint")]]
    return lines


def _wrapped(name: str, text: str, width: int) -> list[Line]:
    first, *rest = wrap(text, width - NAME_WIDTH)
    heads = [name, *[""] * len(rest)]
    return [
        [(f"{head:<{NAME_WIDTH}}", "muted"), (piece, "text")]
        for head, piece in zip(heads, (first, *rest), strict=True)
    ]


def _in_one(lines: list[Line], width: int) -> list[Line]:
    """Return the first of several lines, with … at its end."""
    text = " ".join(line[1][0] for line in lines)
    return lines if len(lines) == 1 else [crop([lines[0][0], (text, "text")], width)]


def short_path(path: Path) -> str:
    """Return a path relative to the working folder or, as `~/...`, to the home folder, if it is in one."""
    for base, prefix in ((Path.cwd(), Path()), (home_folder(), Path("~"))):
        if path.is_relative_to(base):
            return str(prefix / path.relative_to(base))
    return str(path)


def _runs_before(figures: PresetFigures) -> Line:
    runs = f"{figures.runs:,} run{'s' if figures.runs != 1 else ''}"
    line: Line = [(f"{'before':<{NAME_WIDTH}}", "muted"), (runs, "text")]
    if figures.live:
        line += [(", ", "muted"), (f"{figures.live} live", "good")]
    if figures.best is not None:
        best = f"{format_metric(figures.best)} "
        line += [(", ", "muted"), ("★ ", "attn"), (best, "bold strong")]
        line.append((printable(short_metric(figures.metric)[:40]), "muted"))
    return line


def _data(place: DataLocation | None) -> str:
    """Return where a preset's data is."""
    if place is None or place.state == "unknown":
        return ""
    where = short_path(place.path) if place.path else ""
    return {
        "here": f"in {where}" if where else "here, no files needed",
        "download": f"not here yet; will be downloaded to {where}",
        "missing": f"not found: {where or 'set data.root to its folder'}",
    }[place.state]
