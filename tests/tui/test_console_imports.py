"""The modules that importing the run screen loads in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import torchconsole.tui.screens.run
print([name for name in ("torch", "torchvision", "torchmetrics", "sklearn") if name in sys.modules])
"""


def test_the_run_screen_does_not_import_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
