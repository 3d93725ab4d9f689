"""The menu appears at once, because modules that it does not need are imported later."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.program_user import User

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


def test_no_heavy_module_is_imported_before_the_menu_is_complete(user: User) -> None:
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
    assert "Wine,&#160;balanced" in seen["screen"]
    assert "textual" in seen["loaded"]
    assert not {"torch", "torchvision", "pydantic", "typer", "numpy", "tomlkit"} & set(seen["loaded"])
