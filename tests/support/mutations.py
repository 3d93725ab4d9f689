"""Mutations of files that torchconsole reads: single bytes, pieces, and values of JSON."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

from tests.support.hostile import WRONG_VALUES

VALUES = st.one_of(
    st.sampled_from(WRONG_VALUES),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.recursive(st.none() | st.booleans() | st.integers(), lambda inner: st.lists(inner, max_size=2)),
)
"""Values of every type, of which most are wrong wherever they are put."""


@st.composite
def mutated_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Change some bytes, cut the end, or repeat a piece."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        match draw(st.integers(0, 3)):
            case 0:
                found[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                del found[at : at + draw(st.integers(1, 40))]
            case 2:
                found[at:at] = found[at : at + draw(st.integers(1, 200))]
            case _:
                del found[at:]
    return bytes(found)


@st.composite
def mutated_json(draw: st.DrawFn, content: Any) -> bytes:
    """Replace some values, or remove some keys, anywhere in a value."""
    found = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 4))):
        _mutate(draw, found)
    return json.dumps(found).encode()


@st.composite
def mutated_lines(draw: st.DrawFn, lines: list[dict[str, Any]]) -> bytes:
    """Mutate some of the objects in JSON lines, and sometimes bytes of them."""
    done = [
        draw(mutated_json(line)) if draw(st.integers(0, 2)) == 0 else json.dumps(line).encode()
        for line in lines
    ]
    text = b"".join(line + b"\n" for line in done)
    return draw(mutated_bytes(text)) if draw(st.integers(0, 3)) == 0 else text


def _mutate(draw: st.DrawFn, content: Any) -> None:
    """Go down from a container at random, and change one of its items."""
    while isinstance(content, dict | list) and content:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        key = draw(st.sampled_from(keys))
        inner = content[key]
        if isinstance(inner, dict | list) and inner and draw(st.integers(0, 3)):
            content = inner
            continue
        if draw(st.integers(0, 4)) == 0:
            del content[key]
        else:
            content[key] = copy.deepcopy(draw(VALUES))
        return
