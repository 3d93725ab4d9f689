"""The private parts of Textual that the console and its tests rely on, and what the console builds on them.

Tested with textual >= 8.2.5, < 9. If a name is missing here, replace it in tui/textual_compat.py or in
tests/support/textual_compat.py.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from importlib.metadata import version
from pathlib import Path
from types import FunctionType

import pytest
from packaging.version import Version
from textual._compositor import ChopsUpdate, Compositor, LayoutUpdate
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region
from textual.keys import _character_to_key
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widget import Widget

from torchconsole import tui
from torchconsole.tui import textual_compat

OLDEST, FIRST_UNTESTED = Version("8.2.5"), Version("9")
PRIVATE = re.compile(
    r"textual\._|textual\.\w+ import _|\b_compositor\b|\b_batch_count\b|\._display\b|\b_auto_restart\b"
    r"|_must_signal_|\b_layout_required\b|\b_repaint_required\b|\b_dirty_widgets\b|\b_dirty_regions\b|\b_notifications\b"
)
FOLDER = Path(textual_compat.__file__).parent
TESTS = Path(__file__).parents[1]
BENCHMARKS = TESTS.parent / "benchmarks"
COMPAT_FILES = {"textual_compat.py", Path(__file__).name}


def test_the_installed_textual_is_in_the_tested_range() -> None:
    assert OLDEST <= Version(version("textual")) < FIRST_UNTESTED


def test_every_private_name_that_the_console_uses_exists() -> None:
    app: App[None] = App()
    assert app._batch_count == 0
    assert callable(app._display)
    assert isinstance(Screen()._compositor, Compositor)
    assert app._running is app._closed is False
    assert app._driver is None
    assert tuple(app._previous_cursor_position) == (0, 0)
    assert callable(app._begin_update)
    assert callable(app._end_update)
    assert callable(app._handle_exception)
    assert app.console._color_system is None or app.console._color_system.name
    assert {"strips", "region"} <= set(vars(LayoutUpdate([], Region())))
    assert {"chops", "spans", "chop_ends"} <= set(vars(ChopsUpdate([], [], [])))
    assert callable(LinuxDriver._sigcont_application)
    assert "_must_signal_resume" in LinuxDriver.start_application_mode.__code__.co_names
    assert "_auto_restart" in LinuxDriver._sigcont_application.__code__.co_names


def test_every_private_name_that_the_tests_use_exists() -> None:
    assert _character_to_key("?") == "question_mark"
    assert {"_layout_required", "_repaint_required"} <= set(vars(Widget()))
    assert {"_dirty_widgets", "_callbacks", "_compositor"} <= set(vars(Screen()))
    assert "_dirty_regions" in vars(Compositor())
    assert callable(Compositor.render_strips)
    app: App[None] = App()
    assert not list(app._notifications)


@pytest.mark.parametrize("folder", [FOLDER, TESTS, BENCHMARKS], ids=lambda folder: folder.name)
def test_no_other_module_uses_private_names_of_textual(folder: Path) -> None:
    others = [path for path in folder.rglob("*.py") if path.name not in COMPAT_FILES]
    assert others
    assert not [str(path) for path in others if PRIVATE.search(path.read_text("utf-8"))]


def test_no_class_of_the_console_overrides_a_private_name_of_textual() -> None:
    for module in pkgutil.walk_packages([str(FOLDER)], f"{tui.__name__}."):
        if not module.name.startswith(f"{tui.__name__}.cli"):
            importlib.import_module(module.name)
    overridden = {
        (owner.__name__, name)
        for owner in subclasses(MessagePump)
        if owner.__module__.startswith(tui.__name__) and owner.__module__ != textual_compat.__name__
        for name, value in vars(owner).items()
        if name.startswith("_") and not name.startswith("__") and isinstance(value, FunctionType | property)
        for base in owner.__mro__
        if base.__module__.startswith("textual") and name in vars(base)
    }
    assert overridden == set()


def subclasses(owner: type) -> set[type]:
    """Return all direct and indirect subclasses of a class."""
    return {owner}.union(*map(subclasses, owner.__subclasses__()))
