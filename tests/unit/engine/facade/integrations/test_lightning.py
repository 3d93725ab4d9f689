"""Which Lightning the callback is for: the package has two names."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

MODULE = "torchconsole.engine.facade.integrations.lightning"
CLASSES = ("Callback", "LightningModule", "Trainer")


class OlderLightning(MetaPathFinder, Loader):
    """Finds a stand-in for the package under its older name."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == "pytorch_lightning" else None

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update({name: type(name, (), {}) for name in CLASSES})


@pytest.fixture(autouse=True)
def without_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Lightning is installed, under either name."""
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("lightning", "pytorch_lightning")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    for name in ("lightning", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)


def test_the_older_name_is_enough_before_the_program_has_imported_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pytorch_lightning")
    monkeypatch.setattr(sys, "meta_path", [OlderLightning(), *sys.meta_path])
    module = import_module(MODULE)
    monkeypatch.delitem(sys.modules, MODULE)
    assert issubclass(module.ConsoleCallback, import_module("pytorch_lightning").Callback)
    monkeypatch.delitem(sys.modules, "pytorch_lightning")


def test_a_missing_lightning_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="lightning"):
        import_module(MODULE)
