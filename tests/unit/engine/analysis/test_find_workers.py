"""`find-workers`: numbers of data loader workers, what bounds the training, and no trace in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch

from tests.support.sessions import setup_for
from torchconsole.engine.analysis import find_workers as finder
from torchconsole.engine.analysis.find_workers import find_workers
from torchconsole.engine.components.data import one_by_one
from torchconsole.engine.components.data.one_by_one import OneByOne
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.protocol.events import PhaseChanged
from torchconsole.engine.protocol.finder_reports import LoaderSearch
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.trial import Batch

LOADED = ["data.in_memory=false", "data.num_workers=0", "data.limit=100", "data.batch_size=16", "schedule=[]"]
GROUPS = "optimizer={name='AdamW', lr=0.01, groups=[{match=['*.bias'], lr=0.03}]}"
ONE_CYCLE = "schedule=[{name='OneCycleLR', max_lr=1.0}]"


def setup_of(*overrides: str) -> TrainingSetup:
    return setup_for(load_preset("digits-mlp", [*LOADED, *overrides]))


def loader(setup: TrainingSetup) -> OneByOne:
    assert setup.data.one_by_one is not None
    return setup.data.one_by_one


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Samples per second that are measured: those loaded and those trained, for one number after another."""
    given: list[float] = []

    def rate(
        batches: Iterator[Batch],
        seconds: float,
        use: Callable[[Batch], object],
        meter: LossMeter | None = None,
    ) -> float:
        use(next(batches))
        return given.pop(0)

    monkeypatch.setattr(finder, "_rate", rate)
    monkeypatch.setattr(finder, "step_seconds", lambda setup, batch: 0.1)
    return given


def test_samples_in_memory_need_no_workers() -> None:
    search = find_workers(setup_for(load_preset("digits-mlp")), 4)
    assert (search.trials, search.settings) == ([], [])
    assert search.computed > 0


def test_the_numbers_double_up_to_the_cores(rates: list[float]) -> None:
    rates += [100, 40, 200, 70, 400, 95, 600, 99]
    setup, phases = setup_of(), list[PhaseChanged]()
    search = find_workers(setup, 3, phases.append)
    assert [trial.num_workers for trial in search.trials] == [0, 1, 2, 3]
    assert [trial.trained for trial in search.trials] == [40, 70, 95, 99]
    assert (search.knee, search.settings) == (2, ["data.num_workers=2"])
    assert search.computed == 160
    assert [(phase.subject, phase.done, phase.total) for phase in phases][-1] == ("3", 3, 4)
    assert loader(setup).num_workers == search.num_workers == 0


def test_workers_that_can_gain_next_to_nothing_are_not_tried(rates: list[float]) -> None:
    rates += [1700, 140]
    search = find_workers(setup_of(), 3)
    assert [trial.num_workers for trial in search.trials] == [0]
    assert (search.knee, search.bound) == (0, "computation")


@pytest.mark.parametrize(("loaded", "bound"), [(100.0, "data"), (150.0, "computation")])
def test_the_slower_of_loading_and_computing_bounds_the_training(
    loaded: float, bound: str, rates: list[float]
) -> None:
    rates += [loaded, 90]
    assert find_workers(setup_of(), 0).bound == bound


@pytest.mark.parametrize(
    "settings",
    [
        [ONE_CYCLE],
        ["training.grad_accum_steps=3"],
        ["training.precision=bf16"],
        ["training.precision=fp16"],
        [GROUPS, "ema.decay=0.9", "training.grad_accum_steps=2", "training.clip_norm=0.1"],
    ],
    ids=["schedule", "accumulation", "bf16", "fp16", "all"],
)
def test_the_training_is_as_before(settings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "step_seconds", lambda setup, batch: 1e-6)  # so fast that all are tried
    setup = setup_of(*settings)
    weights = copy.deepcopy(setup.model.state_dict())
    rest = copy.deepcopy((setup.optimizer.state_dict(), setup.learning_rate.state_dict()))
    random = torch.get_rng_state()
    search: LoaderSearch = find_workers(setup, 1, seconds=0.05)
    assert [trial.num_workers for trial in search.trials] == [0, 1]
    assert all(trial.loaded > 0 and trial.trained > 0 for trial in search.trials)
    assert all(map(torch.equal, setup.model.state_dict().values(), weights.values()))
    assert (setup.optimizer.state_dict(), setup.learning_rate.state_dict()) == rest
    assert torch.equal(torch.get_rng_state(), random)
    loader(setup).use_workers(0)


def test_what_limits_the_workers_is_told(rates: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    rates += [100, 90, 100, 90]
    monkeypatch.setattr(one_by_one, "fitting_workers", lambda batch_bytes, most: 1)
    search = find_workers(setup_of(), 4)
    assert [trial.num_workers for trial in search.trials] == [0, 1]
    assert "4 would need" in search.advice
