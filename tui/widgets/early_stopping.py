"""The early-stopping panel: how many evaluations without improvement, the best, the value to beat."""

from __future__ import annotations

from torchconsole.engine.protocol.info import EarlyStoppingInfo
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_metric
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import Line, LineWidget, flow, line_width

_CLOSE = 2


class EarlyStoppingPanel(LineWidget):
    """`3 of 7 ●●●○○○○  val/loss` over `best 0.2103 at step 552 · to beat 0.2093`."""

    BORDER_TITLE = " early stopping "

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """One line while there is nothing to judge, else the counter and then the values."""
        info = self._state.run.early_stopping
        if info is None:
            wanted = self._state.run.config.get("early_stopping")
            return [[("no evaluation yet" if wanted else "not used by this preset", "muted")]]
        in_words = flow(_values(info, "at step", "to beat"), width)
        in_signs = flow(_values(info, "@", "beat"), width)
        return [_counter(info, width), *(in_words if len(in_words) == len(in_signs) else in_signs)]


def _counter(info: EarlyStoppingInfo, width: int) -> Line:
    left = info.patience - info.counter
    tone = "bad" if left <= 0 else "warn" if left <= _CLOSE and info.counter else "good"
    count: Line = [(f"{info.counter:,} of {info.patience:,}", tone)]
    what: Line = [(f"  {printable(info.monitor)} {info.mode}", "muted")]
    # A patience may be millions, of which not even the text for as many dots is to be made.
    if line_width([*count, *what]) + 1 + max(info.counter, info.patience) > width:
        return [*count, *what]
    return [*count, (f" {'●' * info.counter}{'○' * max(0, left)}", tone), *what]


def _values(info: EarlyStoppingInfo, at: str, beat: str) -> list[Line]:
    if info.best is None:
        return [[("no evaluation yet", "muted")]]
    best: Line = [("best ", "muted"), (format_metric(info.best), "strong")]
    if info.best_step is not None:
        best.append((f" {at} {info.best_step:,}", "muted"))
    if info.target is None:
        return [best]
    return [best, [(f"{beat} ", "muted"), (format_metric(info.target), "strong")]]
