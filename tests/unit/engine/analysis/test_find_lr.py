"""`find-lr`: its curve is that of a loop written by hand, to the last bit, and its suggestion trains."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.sessions import MakeSession, setup_for
from torchconsole.engine.analysis.find_lr import FIRST_LR, LAST_LR, find_lr, lr_search_report
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.protocol.reports import LearningRateSearch
from torchconsole.engine.run.names import LAST
from torchconsole.engine.training.setup import TrainingSetup

STEPS, COMPARED = 60, 45
"""Steps of a test; so many are compared, which an lr of 0.08 is too low to end before."""

LRS = np.geomspace(FIRST_LR, LAST_LR, STEPS).tolist()

SGD = ["optimizer={name='SGD', lr=0.01, momentum=0.9}"]
ADAMW = ["optimizer={name='AdamW', lr=0.01, weight_decay=0.01}"]
GROUPS = ["optimizer={name='AdamW', lr=0.01, groups=[{match=['*.bias'], lr=0.03}]}"]
WARM_UP = ["schedule=[{name='OneCycleLR', max_lr=1.0}]"]

Batch = tuple[Tensor, Tensor]
Optimizers = Callable[[nn.Module], torch.optim.Optimizer]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01, fused=True)


def in_groups(model: nn.Module) -> torch.optim.Optimizer:
    parts: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        parts[name.endswith(".bias")].append(parameter)
    groups = [{"params": parts[False]}, {"params": parts[True], "lr": 0.03}]
    return torch.optim.AdamW(groups, lr=0.01, fused=True)


def batch_groups(setup: TrainingSetup, accumulate: int) -> Iterator[list[Batch]]:
    """The batches of each step, epoch after epoch."""
    for epoch in itertools.count():
        batches = list(setup.data.train.epoch(epoch))
        for begin in range(0, len(batches), accumulate):
            yield batches[begin : begin + accumulate]


def by_hand(
    preset: list[str],
    make: Optimizers,
    *,
    accumulate: int = 1,
    clip: float | None = None,
    half: torch.dtype | None = None,
) -> list[float]:
    """The losses of a range test as one writes it with torch alone."""
    setup = setup_for(load_preset("digits-mlp", preset))
    model, optimizer = setup.model, make(setup.model)
    ratios = [group["lr"] / 0.01 for group in optimizer.param_groups]
    scaler = torch.amp.GradScaler("cpu", enabled=half is torch.float16)
    autocast = torch.autocast("cpu", half) if half else contextlib.nullcontext()
    torch.manual_seed(setup.preset.training.seed)
    model.train()
    groups, losses = batch_groups(setup, accumulate), list[float]()
    while len(losses) < COMPARED:
        for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
            group["lr"] = LRS[len(losses)] * ratio
        batches, total = next(groups), 0.0
        samples = sum(len(targets) for _, targets in batches)
        optimizer.zero_grad()
        for inputs, targets in batches:
            with autocast:
                loss = setup.loss_fn(model(inputs), targets)
            total += loss.item() * len(targets)
            part = loss * (len(targets) / samples) if accumulate > 1 else loss
            scaler.scale(part).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(optimizer)
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() >= before:
            losses.append(total / samples)
    return losses


def search_of(*overrides: str, preset: str = "digits-mlp", steps: int = STEPS) -> LearningRateSearch:
    return find_lr(setup_for(load_preset(preset, overrides)), steps)


@pytest.mark.parametrize(
    ("settings", "make", "options"),
    [
        (SGD, sgd, {}),
        (ADAMW, adamw, {}),
        ([*ADAMW, *WARM_UP], adamw, {}),
        ([*SGD, "training.grad_accum_steps=3"], sgd, {"accumulate": 3}),
        ([*SGD, "training.clip_norm=0.1"], sgd, {"clip": 0.1}),
        ([*ADAMW, "training.precision=bf16"], adamw, {"half": torch.bfloat16}),
        ([*ADAMW, "training.precision=fp16"], adamw, {"half": torch.float16}),
        (GROUPS, in_groups, {}),
        ([*GROUPS, *WARM_UP, "ema.decay=0.9"], in_groups, {}),
    ],
    ids=["SGD", "AdamW", "schedule", "accumulation", "clipping", "bf16", "fp16", "groups", "all"],
)
def test_the_curve_is_that_of_a_loop_by_hand(
    settings: list[str], make: Optimizers, options: dict[str, object]
) -> None:
    search = search_of(*settings)
    assert search.losses[:COMPARED] == by_hand(settings, make, **options)  # type: ignore[arg-type]
    assert search.lrs[:COMPARED] == LRS[:COMPARED]


def test_the_smoothed_loss_is_a_debiased_moving_average() -> None:
    search = search_of(*SGD)
    for index in (0, 1, 7, len(search.losses) - 1):
        weights = 0.9 ** np.arange(index, -1, -1)
        expected = (weights * search.losses[: index + 1]).sum() / weights.sum()
        assert search.smoothed[index] == pytest.approx(expected, rel=1e-12)


def test_the_marks_are_those_of_the_curve() -> None:
    search = search_of(*ADAMW, steps=200)
    assert search.diverged
    assert len(search.losses) == len(search.lrs) < 200
    begin, smoothed = 20, np.array(search.smoothed)
    lowest = begin + int(smoothed[begin:].argmin())
    assert smoothed[-1] > 4 * smoothed[lowest]
    slopes = np.gradient(smoothed[begin : lowest + 1], np.log(search.lrs[begin : lowest + 1]))
    assert search.minimum == search.lrs[lowest]
    assert search.tenth == search.lrs[lowest] / 10
    assert search.steepest == search.lrs[begin + int(slopes.argmin())]
    assert search.suggestion == pytest.approx(min(search.steepest, search.tenth), rel=0.05)
    assert search.settings == [f"optimizer.lr={search.suggestion:g}"]


def test_the_overrides_keep_the_ratios_of_the_groups() -> None:
    search = search_of(*GROUPS)
    assert search.suggestion is not None
    lr, of_group = (float(setting.partition("=")[2]) for setting in search.settings)
    assert [setting.partition("=")[0] for setting in search.settings] == [
        "optimizer.lr",
        "optimizer.groups.0.lr",
    ]
    assert (lr, of_group) == (search.suggestion, pytest.approx(3 * lr))
    taken_over = setup_for(load_preset("digits-mlp", [*GROUPS, "schedule=[]", *search.settings]))
    assert [group["lr"] for group in taken_over.optimizer.param_groups] == [lr, of_group]


def test_nothing_is_suggested_where_the_loss_does_not_fall() -> None:
    search = search_of("optimizer={name='SGD', lr=0.01, maximize=true}")
    assert (search.steepest, search.minimum, search.tenth, search.suggestion) == (None,) * 4
    assert search.settings == []


def test_the_test_ends_at_a_loss_that_is_not_finite() -> None:
    search = search_of("optimizer={name='SGD', lr=0.01}", "optimizer.lr=0.01", preset="diabetes-regression")
    assert search.diverged
    assert np.isfinite(search.losses).all()


def test_the_report_repeats_exactly(tmp_path: Path) -> None:
    file = tmp_path / "preset.toml"
    write_preset(load_preset("digits-mlp", ["data.limit=200"]), file)
    assert lr_search_report(str(file), "40") == lr_search_report(str(file), "40")


def test_a_search_from_a_checkpoint_starts_with_its_weights_and_changes_no_file(
    session: MakeSession, tmp_path: Path
) -> None:
    done = session("training.epochs=2")
    done.trainer.run()
    preset, checkpoint = tmp_path / "preset.toml", done.checkpoints / LAST
    write_preset(done.setup.preset, preset)
    before = {path: path.read_bytes() for path in done.checkpoints.rglob("*") if path.is_file()}

    search = lr_search_report(str(preset), "40", str(checkpoint))

    state = torch.load(checkpoint / "state.pt", weights_only=True)
    setup = setup_for(done.setup.preset)
    setup.model.load_state_dict(state["model"])
    setup.model.train()
    torch.manual_seed(setup.preset.training.seed)
    inputs, targets = next(iter(setup.data.train.epoch(state["progress"]["epoch"])))
    assert search.losses[0] == setup.loss_fn(setup.model(inputs), targets).item()
    assert {path: path.read_bytes() for path in done.checkpoints.rglob("*") if path.is_file()} == before
