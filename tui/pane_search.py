"""What is searched in a pane: words that are marked, and filters such as `level:warning`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torchconsole.tui.widgets.lines import Line

MARK = "ink on attn"


@dataclass(frozen=True)
class Query:
    """`words` are in lower case and stand together; a row must pass all filters `(name, value)`."""

    words: str = ""
    filters: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, text: str, names: Sequence[str]) -> Self:
        """Read what a user has typed; only `names` are filters, so that words may have colons."""
        words, filters = [], []
        for word in text.split():
            name, colon, value = word.partition(":")
            if colon and value and name.casefold() in names:
                filters.append((name.casefold(), value.casefold()))
            else:
                words.append(word)
        return cls(" ".join(words).casefold(), tuple(filters))


def marked(line: Line, words: str) -> Line:
    """Return a line with every place of `words` (in lower case) marked, as far as it is within a span."""
    found: Line = []
    for text, tone in line:
        rest, folded = text, text.casefold()
        if len(folded) != len(text):  # a letter that folds to two: then the places differ
            folded = text.lower()
        while words and (at := folded.find(words)) >= 0 and len(folded) == len(rest):
            found += [(rest[:at], tone), (rest[at : at + len(words)], MARK)]
            rest, folded = rest[at + len(words) :], folded[at + len(words) :]
        found.append((rest, tone))
    return [span for span in found if span[0]]
