"""The menu appears at once, because modules that it does not need are imported later."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.program_user import User
from tests.support.runs import make_folder

PROBE = """
import asyncio, json, sys
from torchconsole.tui.app import ConsoleApp

class Probe(ConsoleApp):
    def on_menu_screen_shown(self) -> None:
        loaded = sorted({name.partition(".")[0] for name in sys.modules})
        self.exit(json.dumps({"loaded": loaded, "screen": self.export_screenshot()}))

async def main():
    probe = Probe()
    async with probe.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
    print(probe.return_value)

asyncio.run(main())
"""


@pytest.mark.parametrize("runs", [0, 500])
def test_no_heavy_module_is_imported_before_the_menu_is_complete(user: User, runs: int) -> None:
    for number in range(runs):
        make_folder(user.folder / "runs", f"run-{number}", status="finished")
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=user.folder,
        env=user.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert "cifar10-resnet9" in seen["screen"]
    assert "textual" in seen["loaded"]
    assert not {"torch", "torchvision", "pydantic", "typer", "numpy", "tomlkit"} & set(seen["loaded"])
