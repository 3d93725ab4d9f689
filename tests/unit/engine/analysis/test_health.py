"""A training with a known fault is warned of in the log, once; its twin without the fault is not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.sessions import ObservedLoss, Session
from torchconsole.engine.analysis.health import HealthMonitor
from torchconsole.engine.protocol.commands import HoldLearningRate
from torchconsole.engine.protocol.events import RunResumed
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training.trainer import Trainer

QUICK = ["data.limit=320", "data.batch_size=32", "early_stopping="]

FaultOf = Callable[[Session], None]


class Watched(Session):
    """A session whose trainer reports to a health monitor."""

    def __init__(self, checkpoints: Path, overrides: Sequence[str], preset: str = "digits-mlp") -> None:
        super().__init__(checkpoints, [*QUICK, *overrides], preset)
        monitor = HealthMonitor(self.event_queue, self.setup, from_start=True)
        self.trainer = Trainer(self.setup, self.state, self.manager, self.commands, monitor)


@pytest.fixture
def warnings_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """Train and return the monitor's warnings."""

    def train(
        overrides: Sequence[str], spoil: FaultOf | None = None, preset: str = "digits-mlp"
    ) -> list[str]:
        run = Watched(tmp_path, overrides, preset)
        if spoil is not None:
            spoil(run)
        with caplog.at_level(logging.WARNING):
            run.trainer.run()
        return [entry.message for entry in caplog.records if entry.levelno >= logging.WARNING]

    return train


def spoil_losses(change: Callable[[int, Tensor], Tensor]) -> FaultOf:
    def spoil(run: Session) -> None:
        run.setup.loss_fn = ObservedLoss(run, change)

    return spoil


def spoil_gradients(factor: float, first_step: int) -> FaultOf:
    def spoil(run: Session) -> None:
        for weight in run.setup.model.parameters():
            weight.register_hook(
                lambda gradient: gradient * (factor if run.state.progress.step + 1 >= first_step else 1.0)
            )

    return spoil


def constant_outputs(run: Session) -> None:
    last = [module for module in run.setup.model.modules() if isinstance(module, torch.nn.Linear)][-1]
    last.requires_grad_(False)
    torch.nn.init.zeros_(last.weight)


LEARNS = ["training.epochs=8", "schedule=[]"]
SHRINKS = ["training.epochs=10", 'schedule=[{name="StepLR", step_size=1, gamma=0.01, interval="epoch"}]']


@pytest.mark.parametrize(
    ("overrides", "spoil", "warning"),
    [
        ([*LEARNS, "optimizer.lr=1e-9"], None, "the training loss has not fallen in 5 evaluations"),
        (LEARNS, constant_outputs, "no better than guessing"),
        (["training.epochs=60", "data.limit=60", "optimizer.lr=0.03"], None, "overfitting since step"),
        (LEARNS, spoil_losses(lambda step, loss: loss * (50 if step == 60 else 1)), "the loss jumped to"),
        (LEARNS, spoil_gradients(1e4, first_step=70), "the gradients are exploding"),
        (
            ["training.epochs=8", "optimizer.lr=1e-9"],
            spoil_gradients(1e-9, first_step=40),
            "gradients have vanished",
        ),
        (SHRINKS, None, "nothing more is learned"),
    ],
)
def test_a_fault_is_warned_of_once(
    overrides: list[str], spoil: FaultOf | None, warning: str, warnings_of: Callable[..., list[str]]
) -> None:
    warnings = warnings_of(overrides, spoil)

    assert len([message for message in warnings if warning in message]) == 1, warnings


@pytest.mark.parametrize(
    ("overrides", "preset"),
    [
        (["training.epochs=20"], "digits-mlp"),
        (["training.epochs=4", "training.clip_norm=1.0", "data.batch_size=4"], "digits-mlp"),
        (["training.epochs=10", 'schedule=[{name="CosineAnnealingLR"}]'], "digits-mlp"),
        (["training.epochs=15"], "diabetes-regression"),
        (["training.epochs=15"], "breast-cancer-binary"),
    ],
)
def test_a_healthy_training_is_not_warned_of(
    overrides: list[str], preset: str, warnings_of: Callable[..., list[str]]
) -> None:
    assert warnings_of(overrides, preset=preset) == []


def test_a_warm_up_is_not_taken_for_a_model_that_learns_nothing(
    warnings_of: Callable[..., list[str]],
) -> None:
    warm_up = 'schedule=[{name="LinearLR", start_factor=1e-6, total_iters=3000, interval="step"}]'
    often = ["training.eval_interval=step", "training.eval_every=3", "training.epochs=5"]

    assert warnings_of([*often, warm_up]) == []


def test_sparse_gradients_are_measured_too(warnings_of: Callable[..., list[str]]) -> None:
    def make_sparse(run: Session) -> None:
        weight = next(run.setup.model.parameters())
        weight.register_post_accumulate_grad_hook(lambda each: setattr(each, "grad", each.grad.to_sparse()))

    assert (
        warnings_of(
            ["training.epochs=2", "optimizer.name=SGD", "optimizer.weight_decay=", "optimizer.fused=false"],
            make_sparse,
        )
        == []
    )


def test_an_lr_that_a_person_sets_to_zero_is_not_warned_of(warnings_of: Callable[..., list[str]]) -> None:
    def hold_at_zero(run: Session) -> None:
        run.event_queue.on_log = lambda point: (
            run.commands.put("a", HoldLearningRate(value=0.0), "me") if point.step == 5 else None
        )

    assert warnings_of(["training.epochs=2"], hold_at_zero) == []


def test_a_fault_is_warned_of_again_after_a_roll_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What has reported on the way that was left watches the new way, too."""
    run = Watched(tmp_path, [])
    monitor = HealthMonitor(run.event_queue, run.setup, from_start=False)

    def train(first: int, spike: int) -> None:
        for step in range(first, spike + 1):
            loss = 50.0 if step == spike else 1.0
            monitor.log(MetricsPoint(step, 1, 0.0, 0.0, {"train/loss": loss, "lr": 0.1}))

    train(1, spike=40)
    assert caplog.text.count("the loss jumped") == 1
    monitor.emit(RunResumed(step=5, epoch=0, checkpoint="step-00000005", rolled_back_from=40))
    train(6, spike=60)
    assert caplog.text.count("the loss jumped") == 2
