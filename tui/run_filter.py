"""The filter of lists of runs: plain words, `status:failed`, `tag:baseline`, `val/accuracy>0.9`."""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord

Condition = Callable[["RunRecord"], bool]

_WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_SPACED = re.compile(r"\s*(<=|>=|!=|<|>|=)\s*")
_COMPARISON = re.compile(r"([\w/.@-]+?)(<=|>=|!=|<|>|=)(.*)", re.DOTALL)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)([%a-z]*)", re.IGNORECASE)
_UNITS = {"": 1.0, "%": 0.01, "k": 1e3, "m": 1e6}
_TIME_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}

_TEXTS: dict[str, Callable[[RunRecord], Iterable[str]]] = {
    "status": lambda run: (run.status, run.shown_status),
    "preset": lambda run: (run.preset,),
    "tag": lambda run: run.tags,
    "name": lambda run: (run.name,),
    "host": lambda run: (run.host,),
    "title": lambda run: (run.title,),
    "note": lambda run: (run.note,),
}
"""Field -> the run's texts that it searches. A tag must match as a whole, another text in any part."""

_NUMBERS: dict[str, Callable[[RunRecord], float | None]] = {
    "step": lambda run: run.step,
    "epoch": lambda run: run.epoch,
    "epochs": lambda run: run.total_epochs,
    "lr": lambda run: run.lr,
    "progress": lambda run: run.progress,
    "age": lambda run: time.time() - run.created,
    "best": lambda run: run.best["value"] if run.best else None,
}
"""Name -> the run's number, besides its metrics."""

OR = "|"
"""Between words of a filter: a run meets all before it, or all after it."""

FILTER_EXAMPLES = (
    "words, status:failed, preset:NAME, tag:NAME, val/accuracy>0.9, age<2d; -word excludes; a | b: either"
)


def split_words(text: str) -> list[str]:
    """Split what was typed into words. Quotes keep blanks; a comparison may have some around its sign."""
    return [word.replace('"', "") for word in _WORD.findall(_SPACED.sub(r"\1", text))]


def matching(runs: Iterable[RunRecord], words: Sequence[str]) -> list[RunRecord]:
    """Return the runs that meet each word of a filter, ignoring case; `-` before a word excludes its runs.

    After OR, other words begin, which are enough instead.
    """
    groups: list[list[Condition]] = [[]]
    for word in filter(None, words):
        if word == OR:
            groups.append([])
        else:
            groups[-1].append(_condition(word))
    wanted = [group for group in groups if group] or [[]]
    return [run for run in runs if any(all(condition(run) for condition in group) for group in wanted)]


def _condition(word: str) -> Condition:
    if len(word) > 1 and word.startswith("-"):
        excluded = _condition(word[1:])
        return lambda run: not excluded(run)
    if comparison := _comparison(word):
        return comparison
    field, colon, value = word.partition(":")
    wanted = value.casefold()
    if colon and field.casefold() == "tag":
        return lambda run: not wanted or any(tag.casefold() == wanted for tag in run.tags)
    if colon and (texts := _TEXTS.get(field.casefold())):
        return lambda run: any(wanted in text.casefold() for text in texts(run)) or not wanted
    plain = word.casefold()
    return lambda run: plain in _searched_text(run)


def _comparison(word: str) -> Condition | None:
    """Return the condition of `NAME>NUMBER`; None for a word of another form.

    A comparison that is still being typed, without its number, is met by every run.
    """
    match = _COMPARISON.fullmatch(word)
    if match is None:
        return None
    name, sign, text = match.groups()
    if not text or text in ("-", "+", "."):
        return lambda run: True
    number = _NUMBER.fullmatch(text)
    units = _TIME_UNITS if name.casefold() == "age" else _UNITS
    if number is None or number[2].casefold() not in units:
        return None
    wanted = round(float(number[1]) * units[number[2].casefold()], 12)
    compare = _OPERATORS[sign]

    def condition(run: RunRecord) -> bool:
        value = _number(run, name)
        return value is not None and compare(value, wanted)

    return condition


def _number(run: RunRecord, name: str) -> float | None:
    """Return a number of a run: one of _NUMBERS, the best value of the metric it monitors, or its latest.

    `accuracy` stands for `val/accuracy`, or for the first metric that ends so.
    """
    if read := _NUMBERS.get(name.casefold()):
        return read(run)
    recorded = run.details.get("metrics")
    metrics = {**recorded} if isinstance(recorded, dict) else {}
    if run.best:
        metrics[run.best["metric"]] = run.best["value"]
    named = {key.casefold(): value for key, value in metrics.items()}
    wanted = name.casefold()
    value = named.get(wanted, named.get(f"val/{wanted}"))
    if value is None:
        value = next((found for key, found in named.items() if key.endswith(f"/{wanted}")), None)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _searched_text(run: RunRecord) -> str:
    texts = (run.name, run.preset, run.title, run.status, run.shown_status, run.host, run.note, *run.tags)
    return "\n".join(texts).casefold()
