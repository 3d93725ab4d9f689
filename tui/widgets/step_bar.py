"""The parts of a step as one bar, with their shares and a verdict below it."""

from __future__ import annotations

from torchconsole.tui.formatting import format_number
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.step_shares import Share, last_profile, step_shares, step_times, step_verdict
from torchconsole.tui.widgets.frames import frame, rule
from torchconsole.tui.widgets.lines import Line, flow, wrap

_SIGN = "━"


def step_frame(
    state: ConsoleState, width: int, hint: Line, *, boxed: bool, lettered: bool = False
) -> list[Line]:
    """Return the bar with its title: in a frame, or below a rule; nothing while no step is measured.

    `hint` names the key that profiles steps. With `lettered`, the parts are told apart without colors.
    """
    times = step_times(state)
    if times is None:
        return []
    inner = width - 4 if boxed else width - 2
    shares = step_shares(times)
    verdict = step_verdict(state, times)
    tone = "attn" if verdict.is_warning else "muted"
    text = f"! {verdict.text}" if verdict.is_warning else verdict.text
    body = [
        _bar(shares, inner, lettered=lettered),
        *flow([_entry(share, lettered=lettered) for share in shares], inner),
        *([(piece, tone)] for piece in wrap(text, inner)),
    ]
    if profiled := last_profile(state):
        body += [[(piece, "muted")] for piece in wrap(profiled, inner)]
    milliseconds = format_number(1000 * sum(times.parts.values()))
    title: Line = [("step", "bold strong"), (f"  {milliseconds} ms", "bold text")]
    measured = "compiled model" if times.is_compiled else "one step a second is measured"
    remark: Line = [*hint, ("  " if hint else "", "faint"), (measured, "faint")]
    if boxed:
        return frame(body, width, len(body) + 2, title, remark)
    return [rule(width, title, remark), *([(" ", "text"), *line] for line in body)]


def _bar(shares: list[Share], columns: int, *, lettered: bool) -> Line:
    """Return the bar: each part begins where the ones before it end, rounded to a whole cell."""
    line: Line = []
    done = 0.0
    edge = 0
    for share in shares:
        done += share.share
        end = min(columns, round(done * columns))
        if end > edge:
            line.append((_sign(share, lettered=lettered) * (end - edge), share.tone))
        edge = end
    return line


def _sign(share: Share, *, lettered: bool) -> str:
    return share.letter if lettered else _SIGN


def _entry(share: Share, *, lettered: bool) -> Line:
    """Return `━ forward 31 %`, or `f forward 31 %`."""
    percent = f"{100 * share.share:.0f} %"
    return [
        (f"{_sign(share, lettered=lettered)} ", share.tone),
        (f"{share.name} ", "muted"),
        (percent, "bold text"),
    ]
