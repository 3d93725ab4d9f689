"""The text of a comparison of six runs with long names. UPDATE_GOLDENS=1 accepts the text that it shows."""

from __future__ import annotations

from pathlib import Path

from tests.support.compared_runs import add_compared_run
from tests.support.pilot import shows, until
from tests.support.screen_text import text_of
from tests.support.textual_compat import is_painted
from tests.support.watching import check_golden
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.screens.compare import CompareScreen

SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))


async def test_six_compared_runs_match_their_golden_files(runs_dir: Path) -> None:
    folders = []
    for number in range(6):
        name = f"ablation-{number}-of-the-learning-rate-with-warm-up".ljust(60, "x")
        settings = f"[optimizer]\nlr = 0.{number + 1}\n[training]\nseed = {number}\n"
        folders.append(add_compared_run(runs_dir, name, settings, 3 + number, scale=1 + number / 4))
    screen = CompareScreen([folder.read_record() for folder in folders])
    app = ConsoleApp(runs_dir=runs_dir, first_screen=screen)
    async with app.run_test(size=SIZES[1]) as pilot:
        await until(app, pilot, lambda: screen.view.comparison.runs)
        await shows(app, pilot, "val/loss")
        for width, height in SIZES:
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            await until(app, pilot, lambda: is_painted(app.screen))
            check_golden(f"compare-six-{width}x{height}", text_of(app.screen))
