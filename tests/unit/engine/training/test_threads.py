"""The number of torch's CPU threads: the fewest that are as fast, found without a trace in the training."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.support.sessions import MakeSession
from torchconsole.engine.training import threads
from torchconsole.engine.training.dry_run import first_batch
from torchconsole.engine.training.randomness import random_state


class Torch:
    """torch's threads, and how long a step takes with each number of them."""

    def __init__(self, patch: pytest.MonkeyPatch, milliseconds: dict[int, float]) -> None:
        self.count = max(milliseconds)
        self.tried: list[int] = []
        self._seconds = {count: value / 1000 for count, value in milliseconds.items()}
        patch.setattr(torch, "get_num_threads", lambda: self.count)
        patch.setattr(torch, "set_num_threads", self._set)
        patch.setattr(threads, "median_seconds", self._measure)

    def _set(self, count: int) -> None:
        self.count = count

    def _measure(self, step: object) -> float:
        self.tried.append(self.count)
        return self._seconds[self.count]


@pytest.mark.parametrize(
    ("milliseconds", "chosen", "tried"),
    [
        ({2: 0.9, 1: 0.5}, 1, [2, 1]),
        ({2: 0.50, 1: 0.52}, 1, [2, 1]),
        ({2: 0.5, 1: 0.9}, 2, [2, 1]),
        ({8: 3.0, 4: 2.0, 2: 2.1, 1: 4.0}, 2, [8, 4, 2, 1]),
        ({2: 70.0, 1: 10.0}, 1, [2, 1]),
        ({2: 1100.0, 1: 900.0}, 2, [2]),
        ({1: 0.5}, 1, []),
    ],
)
def test_the_fewest_that_are_as_fast_are_taken(
    session: MakeSession,
    monkeypatch: pytest.MonkeyPatch,
    milliseconds: dict[int, float],
    chosen: int,
    tried: list[int],
) -> None:
    setup = session().setup
    torch_here = Torch(monkeypatch, milliseconds)
    said = threads.choose_threads(setup, first_batch(setup))
    assert torch_here.count == chosen
    assert torch_here.tried == tried
    assert bool(said) == (chosen < max(milliseconds))


def test_what_was_chosen_is_said_with_its_reason(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = session().setup
    Torch(monkeypatch, {2: 370, 1: 9.14})
    wanted = "1 CPU thread of 2: a step takes 9.1 ms, with all 370 (training.threads)"
    assert threads.choose_threads(setup, first_batch(setup)) == wanted


def test_the_trial_leaves_no_trace_in_the_training(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, running statistics, gradients and random numbers are as they were before."""
    setup = session(preset="digits-cnn").setup
    before = copy.deepcopy(setup.model.state_dict()), random_state()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    threads.choose_threads(setup, first_batch(setup))
    torch.testing.assert_close(
        (setup.model.state_dict(), random_state()["torch"]), (before[0], before[1]["torch"]), rtol=0, atol=0
    )
    assert all(parameter.grad is None for parameter in setup.model.parameters())


def test_compiled_code_keeps_all_threads(session: MakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = session("training.compile=true").setup
    torch_here = Torch(monkeypatch, {2: 0.9, 1: 0.5})
    assert threads.choose_threads(setup, first_batch(setup)) == ""
    assert torch_here.tried == []


def test_a_deterministic_run_goes_by_no_clock(session: MakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums go by the threads: two such runs would differ by how busy the machine was."""
    setup = session("training.deterministic=true").setup
    torch.use_deterministic_algorithms(False)  # switched for the whole process
    torch_here = Torch(monkeypatch, {2: 0.9, 1: 0.5})
    assert threads.choose_threads(setup, first_batch(setup)) == ""
    assert torch_here.tried == []
