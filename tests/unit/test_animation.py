"""The animated SVG of a recorded session."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def animation() -> ModuleType:
    """Return docs/animation.py."""
    file = DOCS / "animation.py"
    module = ModuleType("animation")
    sys.modules["animation"] = module  # dataclasses look for it
    # An import would be refused once another test has made the process import trusted user code only.
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), vars(module))
    return module


def test_what_stays_is_drawn_once_and_what_changes_while_it_is_seen(animation: ModuleType) -> None:
    def frame(time: float, value: str, key: str = "") -> object:
        cells = [animation.Cell(char, "#5fb8ec", "", False) for char in f"loss  {value}"]
        return animation.Frame(time, (tuple(cells),), key)

    svg = animation.animated([frame(0, "a&b"), frame(1, "<c>", "enter"), frame(3, "<c>")], 4.0, 1)
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]
    assert sorted(texts) == ["<c>", "a&b", "enter", "loss"]
    times = dict(re.findall(r"@keyframes (k\d+)\{(.*?)to\{", svg))
    groups = dict(re.findall(r"(k\d+)\">.*?>([^<]+)</text>", svg))
    shown = {groups[name]: steps for name, steps in times.items()}
    assert shown["a&amp;b"] == "0%{visibility:visible}25%{visibility:hidden}"
    assert shown["&lt;c&gt;"] == "0%{visibility:hidden}25%{visibility:visible}"
    assert shown["enter"] == "0%{visibility:hidden}25%{visibility:visible}75%{visibility:hidden}"
    hidden = re.findall(r'<g class="o" style="animation-name:(k\d+)">', svg)
    assert [groups[name] for name in hidden] == ["a&amp;b"]
