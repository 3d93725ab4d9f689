"""Losses and gradients that are nan or infinite: they stop the run or their steps are skipped."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn, optim

from tests.support.sessions import MakeSession, ObservedLoss, at_batch, flat
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.run.checkpoints import list_checkpoints
from torchconsole.engine.training.checkpoint import newest_valid
from torchconsole.engine.training.meter import CAPACITY, LossMeter
from torchconsole.engine.training.nonfinite import NonfiniteGuard

PLAIN = ("model.dropout=0.0", "early_stopping=", 'optimizer={name="SGD", lr=0.1}', "schedule=[]")


@pytest.mark.parametrize("spoil", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_never_overwrites_the_best(
    session: MakeSession, spoil: float
) -> None:
    run = session("training.epochs=4", "training.log_every=4")
    at_batch(run, 50, spoil)
    with pytest.raises(TrainingError, match=r"the loss was not finite at step 50"):
        run.trainer.run()
    run.manager.flush()
    assert run.event_queue.points[-1].step == 52  # the line with that loss is logged
    folder, state, _ = newest_valid(run.checkpoints)
    assert folder.name == "step-00000046"
    assert (run.checkpoints / "best").resolve() == folder
    assert all(value.isfinite().all() for value in state["model"].values())


@pytest.mark.parametrize(
    "optimizer", ['{name="AdamW", fused=true}', '{name="AdamW", fused=false}', '{name="Adagrad"}']
)
@pytest.mark.parametrize("spoil", [float("nan"), float("inf")])
def test_a_skipped_step_has_no_effect(session: MakeSession, optimizer: str, spoil: float) -> None:
    """Neither on the weights, nor on the optimizer's moments, nor on the running statistics."""
    run = session(
        f"optimizer={optimizer}", "training.nonfinite=skip", "training.max_steps=9", preset="digits-cnn"
    )
    states = [copy.deepcopy((run.setup.model.state_dict(), run.setup.optimizer.state_dict()["state"]))]
    run.event_queue.on_log = lambda point: states.append(
        copy.deepcopy((run.setup.model.state_dict(), run.setup.optimizer.state_dict()["state"]))
    )
    at_batch(run, 6, spoil)
    run.trainer.run()
    (model_before, moments_before), (model_after, moments_after) = states[5], states[6]
    assert all(torch.equal(model_before[name], value) for name, value in model_after.items())
    for parameter, moments in moments_after.items():
        for name, value in moments.items():
            assert torch.equal(torch.as_tensor(moments_before[parameter][name]), torch.as_tensor(value))
    assert not all(torch.equal(model_after[name], value) for name, value in states[7][0].items())
    assert run.event_queue.points[-1].metrics["skipped_steps"] == 1
    assert all(value.isfinite().all() for value in run.setup.model.state_dict().values())


def test_the_first_step_may_be_skipped(session: MakeSession) -> None:
    run = session(
        'optimizer={name="SGD", lr=0.1, momentum=0.9, fused=true}',
        "training.nonfinite=skip",
        "training.max_steps=5",
    )
    at_batch(run, 1, float("nan"))
    run.trainer.run()
    assert all(value.isfinite().all() for value in run.setup.model.state_dict().values())
    assert run.state.progress.skipped == 1


def test_weights_that_are_not_finite_are_never_saved(session: MakeSession) -> None:
    """At the very end between two log lines, and with a command at the same step."""
    run = session("training.max_steps=30", "training.log_every=100", "early_stopping=")
    at_batch(run, 28, float("nan"))
    with pytest.raises(TrainingError, match="step 28"):
        run.trainer.run()
    run.manager.flush()
    assert newest_valid(run.checkpoints)[0].name == "step-00000023"

    other = run.checkpoints / "other"
    steered = session("training.max_steps=30", "training.log_every=100", checkpoints=other)

    def spoil_and_send(step: int, loss: Tensor) -> Tensor:
        if step != 7:
            return loss
        steered.commands.put("lr", cmd.SetLearningRate(factor=0.5), "")
        return loss * float("nan")

    steered.setup.loss_fn = ObservedLoss(steered, spoil_and_send)
    with pytest.raises(TrainingError, match="step 7"):
        steered.trainer.run()
    steered.manager.flush()
    assert list_checkpoints(steered.checkpoints) == []


def test_a_skipped_step_is_known_at_once_when_its_loss_was_read_before() -> None:
    """The losses are read when many are waiting, which may be in the middle of a step."""
    meter = LossMeter(leave_out=True)
    for step in range(1, CAPACITY + 1):
        meter.add(torch.tensor(1.0), 1, step)
    meter.mark(torch.tensor(True), CAPACITY)
    meter.collect()
    assert meter.take_nonfinite() == [CAPACITY]


def test_a_run_that_only_overflows_ends_with_the_reason(session: MakeSession) -> None:
    run = session("training.precision=fp16", "training.nonfinite=skip", "checkpoint.save_every_steps=1")
    with torch.no_grad():
        next(iter(run.setup.model.parameters())).fill_(float("nan"))
    with pytest.raises(TrainingError, match="50 steps in a row were skipped, since fp16 gradients"):
        run.trainer.run()
    assert list_checkpoints(run.checkpoints) == []


def test_the_average_does_not_change_in_a_skipped_step(session: MakeSession) -> None:
    run = session(*PLAIN, "ema.decay=0.5", "training.nonfinite=skip", "training.max_steps=6")
    assert run.setup.ema is not None
    ema, averages = run.setup.ema, []
    run.event_queue.on_log = lambda point: averages.append(
        flat([weight.clone() for weight in ema.module.parameters()])
    )
    at_batch(run, 4, float("nan"))
    run.trainer.run()
    assert torch.equal(averages[2], averages[3])
    assert not torch.equal(averages[3], averages[4])


def test_an_optimizer_without_state_skips_steps_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host waits only in the first step, in which other optimizers create their state."""
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1, fused=True)
    guard = NonfiniteGuard(model, optimizer)

    def step(loss: float) -> bool:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, loss)
        return guard.step(torch.tensor(loss), torch.tensor(loss)).item()

    assert not step(1.0)
    before = model.weight.clone()
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda tensor: pytest.fail("the host waits for the device"))
    assert step(float("nan"))
    assert torch.equal(model.weight, before)
    assert not step(1.0)
    assert torch.equal(model.weight, before - 0.1)
