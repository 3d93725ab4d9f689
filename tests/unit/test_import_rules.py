"""Which heavy packages a module imports, checked in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

TORCH_SIDE = {"torch", "torchvision", "torchmetrics", "sklearn"}


def loaded_after(statement: str) -> set[str]:
    """Return the top-level packages that are loaded after a statement."""
    program = f"{statement}\nimport sys\nprint(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "tui.cli",
        "tui.app",
        "tui.screens.menu",
        "tui.screens.run",
        "engine.protocol.messages",
        "engine.config.loading",
        "engine.client.client",
        "engine.client.launcher",
        "engine.session.server",
        "engine.run.recorded_history",
    ],
)
def test_the_console_and_the_client_do_not_import_torch(module: str) -> None:
    assert not loaded_after(f"import torchconsole.{module}") & TORCH_SIDE


@pytest.mark.parametrize(
    "module", ["engine.training.trainer", "engine.worker.prepare", "engine.analysis.report"]
)
def test_the_engine_does_not_import_textual(module: str) -> None:
    loaded = loaded_after(f"import torchconsole.{module}")
    assert "torch" in loaded
    assert "textual" not in loaded


@pytest.mark.parametrize(
    "module", ["engine.config.preset_index", "engine.run.registry", "tui.cli", "tui.app", "tui.screens.menu"]
)
def test_the_first_frame_needs_no_heavy_package(module: str) -> None:
    assert not loaded_after(f"import torchconsole.{module}") & {"pydantic", "typer", "numpy", "torch"}


def test_the_facade_imports_nothing_until_it_is_used() -> None:
    assert loaded_after("import torchconsole") - loaded_after("import __future__") == {"torchconsole"}
