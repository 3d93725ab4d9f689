"""Any content is either a valid preset or a PresetError with a line for each error, never a traceback."""

from __future__ import annotations

import copy
import datetime
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.loading import dump_preset, load_preset, read_preset, set_key, validate
from torchconsole.engine.config.preset_files import read_inherited
from torchconsole.engine.config.preset_index import list_presets
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import PresetError
from torchconsole.engine.text import printable

BUILT_IN = [read_inherited(entry.path) for entry in list_presets()]

quick = settings(
    max_examples=200,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def known_keys(content: Any) -> Iterator[str]:
    """Yield every key that occurs anywhere in a built-in preset."""
    if isinstance(content, dict):
        yield from content
    for value in (
        content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    ):
        yield from known_keys(value)


MALFORMED_FILES = (
    b"a = " + b"9" * 5000,
    b"title = 0x" + b"f" * 5000,
    b"a = " + b"[" * 5000,
    b"title = " + b"[" * 100 + b"]" * 100,
    b"a = 9999-99-99",
    b"\xef\xbb\xbftitle = 'x'",
    b"title = '\0'",
)
"""Files that are malformed in unusual ways, or that only tomllib rejects."""

KEYS = sorted({key for content in BUILT_IN for key in known_keys(content)} | set(Preset.model_fields))

texts = st.text(max_size=12) | st.sampled_from(
    ["\x1b[31m", "[bold]", "../..", "os:system", "os.system", "auto", "SGD", "a" * 300, "x.py:Y", "~no:T"]
)
numbers = (
    st.integers()
    | st.sampled_from([10**30, -(2**63), 2**63])
    | st.floats()
    | st.sampled_from([1e308, 5e-324, -0.0])
)
scalars = st.booleans() | numbers | texts | st.datetimes() | st.dates() | st.times()
keys = st.sampled_from(KEYS) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
contents = st.dictionaries(keys, values, max_size=8)


def entries_of(content: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (table or list, key or index) in a preset's content."""
    entries = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in entries:
        yield content, key
        if isinstance(value, dict | list):
            yield from entries_of(value)


@st.composite
def nearly_valid(draw: st.DrawFn) -> dict[str, Any]:
    """A built-in preset with up to three keys changed, removed or added."""
    content = copy.deepcopy(draw(st.sampled_from(BUILT_IN)))
    for _ in range(draw(st.integers(1, 3))):
        table, key = draw(st.sampled_from(list(entries_of(content))))
        change = draw(st.sampled_from(["change", "remove", "add"]))
        if change == "remove":
            del table[key]
        elif change == "add" and isinstance(table, dict):
            table[draw(keys)] = draw(values)
        else:
            table[key] = draw(values)
    return content


def assert_well_formed(error: PresetError, *origins: str) -> None:
    """Every line is printable and begins with the origin of the error."""
    lines = str(error).split("\n")
    assert all(line.startswith(origins) for line in lines), lines
    assert all(line == printable(line) for line in lines), lines


Accept = Callable[..., Preset | None]


@pytest.fixture(scope="module")
def accept(catalogue: Catalogue) -> Accept:
    """Validate content; return None if it is rejected with a well-formed message."""

    def accepted(content: dict[str, Any], *overrides: str) -> Preset | None:
        try:
            for override in overrides:
                set_key(content, override)
            return validate(content, "mine.toml", catalogue, overrides)
        except PresetError as error:
            assert_well_formed(error, "mine.toml: ", "--set ")
            return None

    return accepted


def same(one: Any, other: Any) -> bool:
    """Compare for equality; NaN equals NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and one == other


@quick
@given(contents)
def test_any_content_is_valid_or_rejected_with_a_message(accept: Accept, content: dict[str, Any]) -> None:
    accept(content)


@quick
@given(nearly_valid())
@example({**BUILT_IN[0], "title": "\x85 \u2028 \x1b"})
@example({**BUILT_IN[0], "model": {"name": "own:Net", "when": datetime.date(2026, 1, 1)}})
def test_a_valid_preset_reads_back_unchanged(accept: Accept, content: dict[str, Any]) -> None:
    preset = accept(content)
    if preset is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "preset.toml")
        file.write_text(dump_preset(preset), encoding="utf-8")
        assert same(read_preset(file).model_dump(), preset.model_dump())


@quick
@given(st.sampled_from(BUILT_IN), st.sampled_from([[], [], ["x"], ["=1"], ["title=\x1b[1m"]]), st.data())
def test_any_override_is_valid_or_rejected_with_a_message(
    accept: Accept, built_in: dict[str, Any], words: list[str], data: st.DataObject
) -> None:
    dotted = st.lists(keys | st.integers(0, 3).map(str), min_size=1, max_size=3).map(".".join)
    override = f"{data.draw(dotted)}={data.draw(st.text(max_size=10) | scalars.map(repr))}"
    accept(copy.deepcopy(built_in), *words, override)


@quick
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.sampled_from(MALFORMED_FILES))
def test_any_file_is_valid_or_rejected_with_a_message(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "mine.toml")
        file.write_bytes(content)
        try:
            load_preset(str(file))
        except PresetError as error:
            assert_well_formed(error, str(file))


@quick
@given(
    st.lists(
        st.sampled_from(["0.toml", "1.toml", "2.toml", "./1.toml", "0", "digits-mlp"]) | texts | values,
        min_size=1,
        max_size=3,
    )
)
def test_any_extends_is_valid_or_rejected_with_a_message(parents: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for number, parent in enumerate(parents):
            with suppress(ValueError):  # Python does not format integers of 5000 digits
                (folder / f"{number}.toml").write_text(tomlkit.dumps({"extends": parent}), encoding="utf-8")
        try:
            load_preset(str(folder / "0.toml"))
        except PresetError as error:
            assert_well_formed(error, str(folder), "preset file")
