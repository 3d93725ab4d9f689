"""`find-batch`: sizes that double up to what fits, each proved by a dry run, and the knee."""

from __future__ import annotations

import copy
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.support.sessions import setup_for
from torchconsole.engine.analysis import find_batch as finder
from torchconsole.engine.analysis import host_memory
from torchconsole.engine.analysis.find_batch import batch_search_report, find_batch, find_knee
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.errors import ComponentError, TrainingError
from torchconsole.engine.protocol.finder_reports import BatchSizeSearch
from torchconsole.engine.training.dry_run import DryRun
from torchconsole.engine.training.failures import is_out_of_memory
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.trial import Batch
from torchconsole.tui.finder_texts import describe_batch_search

PLENTY = 1 << 50
ADAMW = "optimizer={name='AdamW', lr=0.01}"
GROUPS = "optimizer={name='AdamW', lr=0.01, groups=[{match=['*.bias'], lr=0.03}]}"
PLATEAU = "schedule=[{name='ReduceLROnPlateau', monitor='val/loss'}]"
ONE_CYCLE = "schedule=[{name='OneCycleLR', max_lr=1.0}]"

Probe = Callable[[int], None]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a millisecond for a sample, so that no clock decides."""
    monkeypatch.setattr(finder, "step_seconds", lambda setup, batch: 1e-3 * len(batch[1]))


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the steps that were made, in order."""
    made: list[int] = []
    real = finder.dry_run

    def noted(setup: TrainingSetup, batch: Batch) -> DryRun:
        made.append(len(batch[1]))
        return real(setup, batch)

    monkeypatch.setattr(finder, "dry_run", noted)
    return made


def search_of(*overrides: str, preset: str = "digits-mlp", most: int = PLENTY) -> BatchSizeSearch:
    loaded = load_preset(preset, ["schedule=[]", *overrides])
    return find_batch(setup_for(loaded), loaded.data.batch_size, most)


def test_sizes_double_from_the_presets_own_up_to_the_training_set(sizes: list[int]) -> None:
    search = search_of("data.batch_size=20", "data.limit=150")
    assert sizes == [10, 20, 40, 80, 150]
    assert [trial.batch_size for trial in search.trials] == sizes
    assert all(trial.fits and trial.memory for trial in search.trials)
    assert (search.largest, search.limit, search.train_samples) == (150, "samples", 150)
    assert search.batch_size == 20


@pytest.mark.parametrize(("own", "expected"), [(1000, [12, 25, 50]), (3, [3, 6, 12, 24, 48, 50])])
def test_no_size_is_larger_than_the_training_set(own: int, expected: list[int], sizes: list[int]) -> None:
    search = search_of(f"data.batch_size={own}", "data.limit=50")
    assert sizes == expected
    assert search.largest == 50


@pytest.mark.parametrize(
    "settings",
    [
        [ONE_CYCLE],
        [PLATEAU],
        ["training.grad_accum_steps=3"],
        ["training.precision=bf16"],
        ["training.precision=fp16"],
        [GROUPS],
        [GROUPS, ONE_CYCLE, "ema.decay=0.9", "training.grad_accum_steps=2", "training.clip_norm=0.1"],
    ],
    ids=["schedule", "plateau", "accumulation", "bf16", "fp16", "groups", "all"],
)
def test_the_training_is_as_before(settings: list[str]) -> None:
    setup = setup_for(load_preset("digits-mlp", [ADAMW, "data.limit=100", *settings]))
    weights = copy.deepcopy(setup.model.state_dict())
    rest = copy.deepcopy((setup.optimizer.state_dict(), setup.learning_rate.state_dict()))
    random = torch.get_rng_state()
    search = find_batch(setup, 32, PLENTY)
    assert all(trial.fits for trial in search.trials)
    assert all(map(torch.equal, setup.model.state_dict().values(), weights.values()))
    assert (setup.optimizer.state_dict(), setup.learning_rate.state_dict()) == rest
    assert torch.equal(torch.get_rng_state(), random)


def test_a_step_trains_on_all_batches_that_it_accumulates() -> None:
    search = search_of("training.grad_accum_steps=3", "data.limit=100")
    one = next(trial for trial in search.trials if trial.batch_size == 8)
    assert one.samples_per_second == pytest.approx(3 * 1000)
    whole = search.trials[-1]
    assert whole.batch_size == 100
    assert whole.samples_per_second == pytest.approx(1000)  # there is one batch only


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
NO_PRIMITIVE = ComponentError("model: SmallCNN does not take a batch: could not create a primitive")


def fail_above(limit: int, error: Exception = OUT_OF_MEMORY) -> Probe:
    def probe(size: int) -> None:
        if size > limit:
            raise error

    return probe


def break_dry_run(monkeypatch: pytest.MonkeyPatch, probe: Probe) -> None:
    monkeypatch.setattr(finder, "dry_run", lambda setup, batch: probe(len(batch[1])))


@pytest.mark.parametrize("error", [OUT_OF_MEMORY, NO_PRIMITIVE])
def test_what_does_not_fit_is_narrowed_down(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    break_dry_run(monkeypatch, fail_above(210, error))
    search = search_of()
    assert [trial.batch_size for trial in search.trials if trial.fits] == [8, 16, 32, 64, 128, 192, 208]
    assert [trial.batch_size for trial in search.trials if not trial.fits] == [224, 256]
    assert (search.largest, search.limit) == (208, "memory")


def test_other_errors_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    break_dry_run(monkeypatch, fail_above(20, ComponentError("model: Net takes 16 samples only")))
    with pytest.raises(ComponentError, match="takes 16 samples only"):
        search_of()


def test_smaller_sizes_are_tried_if_the_first_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    break_dry_run(monkeypatch, fail_above(3))
    search = search_of()
    assert [(trial.batch_size, trial.fits) for trial in search.trials] == [
        (2, True),
        (3, True),
        (4, False),
        (8, False),
    ]
    assert search.largest == 3


def test_without_room_for_one_sample_there_is_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    break_dry_run(monkeypatch, fail_above(0))
    with pytest.raises(TrainingError, match="not even a batch of one sample fits"):
        search_of()


def test_on_the_cpu_nothing_is_tried_that_is_likely_not_to_fit(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    monkeypatch.setattr(host_memory, "peak", lambda: 1000 + 10 * sizes[-1])
    search = search_of(most=1000 + 10 * 300)
    assert sizes == [8, 16, 32, 64, 128, 256, 288]
    assert (search.largest, search.limit) == (288, "memory")
    assert [trial.batch_size for trial in search.trials if not trial.fits] == [320, 384, 512]


def test_long_steps_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "step_seconds", lambda setup, batch: 0.1 * len(batch[1]))
    search = search_of("data.batch_size=16")
    assert (search.largest, search.limit) == (32, "time")
    of_slow = search_of("data.batch_size=128")  # the preset's own size is tried in any case
    assert (of_slow.largest, of_slow.limit) == (128, "time")


def test_the_knee_is_the_smallest_with_most_of_the_best_throughput() -> None:
    assert find_knee({8: 10.0, 16: 50.0, 32: 91.0, 64: 100.0, 128: 95.0}) == 32
    assert find_knee({8: 100.0, 16: 50.0}) == 8


def test_processes_share_the_samples_and_the_memory() -> None:
    setup = setup_for(load_preset("digits-mlp", ["schedule=[]"]))
    search = find_batch(setup, 64, PLENTY, processes=3)
    assert (search.largest, search.limit) == (search.train_samples, "samples")
    assert search.train_samples == setup.data.train.samples_per_epoch // 3
    text = " ".join(describe_batch_search(search))
    assert "the batch of each of 3 processes, measured alone, and they share the memory" in text
    assert f"has {3 * search.knee:,} samples = 3 x {search.knee:,}" in text
    with host_memory.limited_memory() as whole, host_memory.limited_memory(1000) as part:
        assert part < whole


def test_the_suggestion_is_the_knee() -> None:
    search = search_of("data.limit=100")  # with a millisecond for a sample, all sizes are as fast
    assert (search.knee, search.settings) == (8, ["data.batch_size=8"])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_report_builds_with_the_first_size_that_fits(
    accumulate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = tmp_path / "preset.toml", finder.build_setup
    settings = ["data.batch_size=100", "data.limit=120", f"training.grad_accum_steps={accumulate}"]
    write_preset(load_preset("digits-mlp", settings), file)

    def build(parts: finder.TrainingParts, report: object) -> TrainingSetup:
        if parts.preset.data.batch_size > 30:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(parts, report)  # type: ignore[arg-type]

    monkeypatch.setattr(finder, "build_setup", build)
    limit = resource.getrlimit(resource.RLIMIT_DATA)
    search = batch_search_report(str(file))
    assert [trial.batch_size for trial in search.trials] == [12, 25, 50, 100, 120]
    assert search.batch_size == 100
    assert resource.getrlimit(resource.RLIMIT_DATA) == limit


def test_layers_that_are_trained_later_take_memory_from_the_start() -> None:
    preset = load_preset("digits-mlp", ["model.freeze=['net.*']", "model.unfreeze_at_epoch=3"])
    changed = finder.all_trained(preset)
    assert (changed.model.freeze, changed.model.unfreeze_at_epoch) == ([], None)
    frozen = load_preset("digits-mlp", ["model.freeze=['net.*']"])
    assert finder.all_trained(frozen) is frozen


@contextmanager
def free(size: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(host_memory, "free_host_memory", lambda: size)
    with host_memory.limited_memory() as most:
        yield most


def test_more_memory_than_is_free_is_an_error_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    with free(256 << 20, monkeypatch):
        torch.zeros(16 << 20, dtype=torch.uint8)
        with pytest.raises(RuntimeError) as caught:
            torch.zeros(1 << 30, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    torch.zeros(1 << 30, dtype=torch.uint8)


def test_the_peak_is_that_since_the_last_reset() -> None:
    host_memory.reset_peak()
    before = host_memory.peak()
    large = torch.ones(256 << 20, dtype=torch.uint8)
    assert host_memory.peak() >= before + (200 << 20)
    del large
