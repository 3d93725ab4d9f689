"""Who may load what, seen in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "sklearn")


def loaded_after(statement: str) -> set[str]:
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
def test_the_console_and_the_channel_load_no_torch(module: str) -> None:
    assert not loaded_after(f"import torchconsole.{module}") & set(HEAVY)


@pytest.mark.parametrize(
    "module", ["engine.training.trainer", "engine.worker.prepare", "engine.analysis.report"]
)
def test_the_engine_loads_no_textual(module: str) -> None:
    loaded = loaded_after(f"import torchconsole.{module}")
    assert "torch" in loaded
    assert "textual" not in loaded


@pytest.mark.parametrize(
    "module", ["engine.config.preset_index", "engine.run.registry", "tui.cli", "tui.app", "tui.screens.menu"]
)
def test_what_the_first_frame_needs_is_light(module: str) -> None:
    assert not loaded_after(f"import torchconsole.{module}") & {"pydantic", "typer", "numpy", "torch"}
