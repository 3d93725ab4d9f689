"""Several processes in words."""

from __future__ import annotations

from typing import Any

import pytest

from torchconsole.engine.protocol.events import RanksMeasured
from torchconsole.engine.protocol.rank_loads import RankLoad, Straggler
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.rank_texts import (
    describe_batch,
    describe_lr,
    describe_silence,
    describe_straggler,
    format_milliseconds,
    silence_of,
    speed_of_all,
    why_no_straggler,
)


def run(processes: int, batch_size: int | None, **config: Any) -> RunState:
    return RunState(name="r", folder="/r", processes=processes, batch_size=batch_size, config=config)


def load(rank: int, **more: Any) -> RankLoad:
    return RankLoad(**{"rank": rank, "host": "gpu-08", "device": "cuda:0", "heard": 100.0} | more)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (run(4, 128, data={"batch_size": 32}), "128 = 4 x 32"),
        (run(4, 256, data={"batch_size": 32}, training={"grad_accum_steps": 2}), "256 = 4 x 32 x 2"),
        (run(4, 4096, data={"batch_size": 32}), "4,096"),
        (run(4, 128, data="damaged"), "128"),
        (run(4, None, data={"batch_size": 32}), ""),
    ],
)
def test_the_batch_is_shown_with_its_factors_if_they_are_known(state: RunState, text: str) -> None:
    assert describe_batch(state) == text


def test_the_batch_and_the_speed_of_a_program_are_what_its_processes_measure() -> None:
    state = run(2, None)
    assert describe_batch(state) == ""
    assert speed_of_all(state) is None
    state.ranks = RanksMeasured(ranks=[load(0, samples=16.0, step_seconds=0.02)])
    assert (describe_batch(state), speed_of_all(state)) == ("", None), "not all are known"
    state.ranks.ranks.append(load(1, samples=12.0, step_seconds=0.02))
    assert describe_batch(state) == "28"
    assert speed_of_all(state) == pytest.approx(1400)


@pytest.mark.parametrize(
    ("processes", "scaling", "text"),
    [
        (2, "linear", "0.2 = 0.1 x 2 (linear)"),
        (2, "sqrt", "0.1414 = 0.1 x 1.414 (sqrt)"),
        (2, "none", ""),
        (2, None, ""),
        (1, "linear", ""),
    ],
)
def test_a_scaled_lr_is_shown_with_its_factors(processes: int, scaling: str | None, text: str) -> None:
    state = run(processes, 64, optimizer={"lr": 0.1}, distributed={"lr_scaling": scaling})
    assert describe_lr(state) == text


def test_the_straggler_is_described_in_the_width_that_there_is() -> None:
    found = Straggler(load(2), 0.0307, "data")
    assert describe_straggler(found) == (
        "rank 2 (gpu-08, cuda:0) waits for data: the others wait 30.7 ms of each step for it"
    )
    assert describe_straggler(found, 60) == "rank 2 waits for data: others wait 30.7 ms a step"
    assert describe_straggler(found, 20) == "rank 2 waits for data: +30.7 ms"
    assert "computes slowly" in describe_straggler(Straggler(load(2), 1.5, "compute"))


def test_the_reason_why_there_is_no_straggler_is_said() -> None:
    def reason(*loads: RankLoad) -> str:
        return why_no_straggler(RanksMeasured(ranks=list(loads)), run(2, None))

    assert reason(load(0)) == "not heard from 1 of 2 processes yet"
    assert reason(load(0, step_seconds=1.0), load(1)) == "steps are not measured yet"
    assert "with DistributedDataParallel only" in reason(load(0, step_seconds=1.0), load(1, step_seconds=1.0))
    both = [load(rank, step_seconds=1.0, communication_seconds=0.0) for rank in (0, 1)]
    assert reason(*both).startswith("no straggler")


def test_the_age_of_what_is_known_is_said_after_some_seconds() -> None:
    assert silence_of(load(1), RanksMeasured(ranks=[], time=104.0)) == ""
    assert silence_of(load(1), RanksMeasured(ranks=[], time=142.0)) == "last heard 42 s ago"
    assert describe_silence([load(1)], 142.0, 80) == "no news from rank 1 (gpu-08) for 42 s"
    many = [load(rank) for rank in range(20)]
    assert describe_silence(many, 142.0, 60) == "no news from ranks 0, 1, 2, 3, 4, 5, 6, 7 and 12 more: 42 s"


@pytest.mark.parametrize(("seconds", "text"), [(0.00085, "0.85 ms"), (0.0521, "52.1 ms"), (1.5, "1.5 s")])
def test_times_have_three_digits(seconds: float, text: str) -> None:
    assert format_milliseconds(seconds) == text
