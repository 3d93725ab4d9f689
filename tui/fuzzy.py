"""Fuzzy search in names with descriptions: words in any order, parts of names, and typing errors."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

_LEAST_RATIO = 0.75
"""Similarity (difflib) from which a name counts as typed with an error."""


def ranked(typed: str, described: Mapping[str, str]) -> list[str]:
    """Return the names that match all words of the typed text, the best first; all of them without text.

    `described` is name -> description. A word may also stand in the description, for less.
    """
    words = typed.casefold().split()
    scores = {name: _score(words, name.casefold(), text.casefold()) for name, text in described.items()}
    return sorted((name for name in described if scores[name] > 0), key=lambda name: -scores[name])


def _score(words: list[str], name: str, description: str) -> float:
    found = [_word_score(word, name, description) for word in words]
    return sum(found, 1.0) if all(found) else 0.0


def _word_score(word: str, name: str, description: str) -> float:
    last = name.rpartition(".")[2]
    if word in (name, last):
        return 100.0
    if last.startswith(word):
        return 80.0
    if name.startswith(word):
        return 70.0
    if word in name:
        return 60.0
    if word in description:
        return 30.0
    if _is_in_order(word, name):
        return 20.0 * len(word) / len(name)
    candidates = (name, last)
    ratio = max(difflib.SequenceMatcher(None, word, candidate).ratio() for candidate in candidates)
    return 5.0 * ratio if ratio >= _LEAST_RATIO else 0.0


def _is_in_order(word: str, name: str) -> bool:
    """Whether the letters of a word, of two at least, are in a name in this order."""
    letters = iter(name)
    return len(word) > 1 and all(letter in letters for letter in word)
