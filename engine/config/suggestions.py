"""The end of a message about a name that does not exist: the nearest one that does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LISTED = 12
"""Names that are listed at most where none comes near."""

LIKENESS = 0.7
"""Of a name that may be meant, as difflib counts it: `age` is 0.67 like `target`."""


def hint(name: str, known: Iterable[str]) -> str:
    """The nearest of the `known` names whatever its case, else what there is; nothing where none is."""
    names = {known_name.lower(): known_name for known_name in known}
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=LIKENESS)
    if near:
        return f", did you mean {names[near[0]]!r}?"
    listed = list(names.values())
    more = ", ..." if len(listed) > LISTED else ""
    return f"; there are: {', '.join(listed[:LISTED])}{more}" if listed else ""
