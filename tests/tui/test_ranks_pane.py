"""The ranks pane of a run by several processes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs
from tests.support.watching import Console, check_golden, watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.rank_loads import RankLoad
from torchconsole.tui.widgets.ranks_pane import RanksPane

SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))
CONFIG = {
    "data": {"batch_size": 32},
    "training": {"grad_accum_steps": 2},
    "optimizer": {"lr": 0.1},
    "distributed": {"lr_scaling": "sqrt"},
}


def load(rank: int, data: float, communication: float | None, **more: Any) -> RankLoad:
    """Return the load of a process whose steps take 52 ms."""
    values: dict[str, Any] = {
        "rank": rank,
        "host": f"gpu-{7 + rank // 2:02}",
        "device": f"cuda:{rank % 2}",
        "device_name": "NVIDIA H200",
        "percent": 97.0 - 3 * rank,
        "memory_used": 30 * 2**30 + rank * 2**28,
        "memory_total": 139 * 2**30,
        "step_seconds": 0.052,
        "data_seconds": 0.052 * data,
        "communication_seconds": None if communication is None else 0.052 * communication,
        "heard": NOON,
    }
    return RankLoad(**(values | more))


FOUR = [load(0, 0.02, 0.6), load(1, 0.03, 0.58), load(2, 0.62, 0.01, percent=41), load(3, 0.02, 0.61)]


def several(*loads: RankLoad, processes: int = 4, live: bool = True) -> ScriptedRun:
    """Return a run by several processes."""
    started = ev.RunStarted(
        steps_per_epoch=23,
        total_epochs=60,
        total_steps=1380,
        processes=processes,
        batch_size=processes * 64,
        time=NOON,
    )
    measured = [ev.RanksMeasured(ranks=list(loads), time=NOON)] if loads else []
    end = [] if live else [ev.RunFinished(status="finished", reason="all 60 epochs done", time=NOON)]
    run = ScriptedRun(*BEGINNING, started, *epochs(1, 4), *measured, *end, live=live)
    run.snapshot.state.config = CONFIG
    return run


def pane_of(console: Console) -> RanksPane:
    return console.app.run_screen.query_one(RanksPane)


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
async def test_the_ranks_match_their_golden_files(size: tuple[int, int]) -> None:
    silent = load(3, 0.02, 0.61, heard=NOON - 42)
    async with watching(several(*FOUR[:3], silent), size=size) as console:
        await console.press("0", "0")
        check_golden(f"pane-ranks-{size[0]}x{size[1]}", console.text)


async def test_the_straggler_is_named_with_the_reason() -> None:
    async with watching(several(*FOUR), size=(120, 40)) as console:
        await console.press("0")
        await console.shows(
            "! rank 2 (gpu-08, cuda:0) waits for data: the others wait 30.7 ms of each step for it",
            "batch 256 = 4 x 32 x 2",
            "3,200 samples/s of all",
            "lr 0.2 = 0.1 x 2 (sqrt)",
            "0 ranks",
        )
        await console.press("n")
        assert pane_of(console).highlighted_row == 2
        slow = load(2, 0.02, 0.01)
        console.run.emit(ev.RanksMeasured(ranks=[*FOUR[:2], slow, FOUR[3]], time=NOON + 2))
        await console.shows("rank 2 (gpu-08, cuda:0) computes slowly")
        even = [load(rank, 0.02, 0.1) for rank in range(4)]
        console.run.emit(ev.RanksMeasured(ranks=even, time=NOON + 4))
        await console.shows("no straggler: no process needs 10 % longer")


async def test_what_is_not_known_is_a_dash_and_said() -> None:
    run = several(load(0, 0.02, None), load(1, 0.02, None), processes=4)
    async with watching(run, size=(120, 40)) as console:
        await console.press("0")
        await console.shows("not heard from 2 of 4 processes yet")
        rest = load(3, 0, None, step_seconds=None, data_seconds=None, percent=None, memory_used=None)
        loads = [load(0, 0.02, None), load(1, 0.02, None), load(2, 0.02, None)]
        run.emit(ev.RanksMeasured(ranks=[*loads, rest], time=NOON + 2))
        await console.shows("steps are not measured yet")
        (row,) = [line for line in console.text.splitlines() if "cuda:1" in line and "gpu-08" in line]
        assert row.split("H200")[1].split()[:6] == ["-"] * 6
        run.emit(ev.RanksMeasured(ranks=[*loads, load(3, 0.02, None)], time=NOON + 4))
        await console.shows("waits for other processes are measured with DistributedDataParallel only")


async def test_many_ranks_scroll_and_are_sorted_by_what_makes_them_slow() -> None:
    loads = [load(rank, 0.02, 0.5 + rank / 1000) for rank in range(64)]
    loads[41] = load(41, 0.5, 0.02)
    async with watching(several(*loads, processes=64), size=(80, 24)) as console:
        await console.press("0")
        await console.shows("rank 41 (gpu-27, cuda:1) waits for data")
        assert pane_of(console).highlighted_row == 0
        await console.press("n")
        await console.shows("! ", " 41  gpu-27")
        await console.press("o")
        await console.shows("by own")
        pane = pane_of(console)
        assert pane.rows()[:2] == [41, 0]
        assert pane.highlighted_row == 41
        await console.press("G")
        await console.shows(" 63  gpu-38")
        for _ in range(2):
            await console.press("o")
        await console.shows("by comm.")
        assert pane.rows()[0] == 63


async def test_a_row_is_copied_in_words() -> None:
    async with watching(several(*FOUR), size=(80, 24)) as console:
        await console.press("0", "n")
        text = pane_of(console).text_to_copy()
        assert text == (
            "rank 2 gpu-08 cuda:0 NVIDIA H200, use 41 %, memory 30.5/139G, step 52 ms, own 51.5 ms, "
            "data 62 %, comm. 1 %, waits for data"
        )


async def test_a_pause_leaves_the_key_of_the_ranks_where_it_is() -> None:
    run = several(*FOUR)
    async with watching(run, size=(110, 30)) as console:
        await console.shows("0 ranks")
        run.emit(ev.RunPaused(step=92, time=NOON))
        await console.shows("unpause")
        assert "0 ranks" in console.text
        assert "find lr" not in console.text


async def test_a_paused_run_names_no_straggler() -> None:
    run = several(*FOUR)
    async with watching(run, size=(120, 40)) as console:
        await console.press("0")
        await console.shows("! rank 2 (gpu-08, cuda:0) waits for data")
        run.emit(ev.RunPaused(step=92, time=NOON))
        await console.shows("paused: the times are those of the last steps")
        assert "waits for data" not in console.text
        assert "samples/s of all" not in console.text
        run.emit(ev.RunUnpaused(step=92, time=NOON))
        await console.shows("! rank 2 (gpu-08, cuda:0) waits for data", "samples/s of all")


async def test_the_pane_is_as_tall_as_its_rows_need() -> None:
    async with watching(several(*FOUR), size=(120, 40)) as console:
        await console.press("0")
        await console.shows("rank 2 (gpu-08, cuda:0) waits for data", "0 ranks")
        assert pane_of(console).outer_size.height == 9
        check_golden("pane-ranks-usual-120x40", console.text)
        await console.press("0")
        await console.until(lambda: pane_of(console).outer_size.height > 30)
        await console.press("escape")
        await console.until(lambda: pane_of(console).outer_size.height == 9)
        await console.press("escape")
        assert console.app.run_screen.pane == "charts"


async def test_where_the_pane_has_all_room_it_is_not_enlarged_and_one_escape_closes_it() -> None:
    async with watching(several(*FOUR), size=(80, 24)) as console:
        assert "0 ranks" in console.text
        await console.press("0", "0")
        assert console.app.run_screen.pane == "ranks"
        await console.press("escape")
        assert console.app.run_screen.pane == "charts"


async def test_an_ended_run_keeps_what_was_measured_last() -> None:
    async with watching(several(*FOUR, live=False), size=(120, 40)) as console:
        await console.press("0")
        await console.shows("as last measured", "rank 2 (gpu-08, cuda:0) waits for data")
    async with watching(several(live=False), size=(120, 40)) as console:
        await console.press("0")
        await console.shows("nothing to show: the run ended before its processes were measured")


async def test_the_settings_tell_what_batch_and_lr_amount_to() -> None:
    async with watching(several(*FOUR), size=(80, 24)) as console:
        await console.press("8")
        await console.shows("of all processes: 256 = 4 x 32 x 2", "0.2 = 0.1 x 2 (sqrt)")


async def test_a_run_by_one_process_has_no_ranks() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2)), size=(120, 40)) as console:
        assert "0 ranks" not in console.text
        await console.press("0")
        assert console.app.run_screen.pane == "charts"
        await console.press("9", "tab")
        assert console.app.run_screen.pane == "charts"


async def test_the_ranks_come_after_the_results_and_the_chart_mode_keeps_its_key() -> None:
    async with watching(several(*FOUR), size=(120, 40)) as console:
        await console.press("9", "tab")
        assert console.app.run_screen.pane == "ranks"
        assert console.app.config.pane == "results"
        await console.press("c", "left_square_bracket", "0")
        assert console.app.run_screen.is_chart_mode
