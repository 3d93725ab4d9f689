"""What a training step computes, held against the mathematics of each technique."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.sessions import MakeSession, Session, flat, ignore_phase, parts_for, weights
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.errors import ComponentError, DeviceError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.training.checkpoint import newest_valid
from torchconsole.engine.training.dry_run import dry_run
from torchconsole.engine.training.evaluation import evaluate
from torchconsole.engine.training.precision import choose_precision
from torchconsole.engine.training.setup import build_setup
from torchconsole.engine.training.trial import first_batch

PLAIN = ("model.dropout=0.0", "early_stopping=", 'optimizer={name="SGD", lr=0.1}', "schedule=[]")


def after_each_step(run: Session) -> list[list[Tensor]]:
    """A list that grows by the weights after each step while `run` trains."""
    seen = [weights(run)]
    run.event_queue.on_log = lambda point: seen.append(weights(run))
    return seen


@pytest.mark.parametrize("penalty", ["loss.l1=0.0", "loss.l1=0.001"])
def test_accumulated_batches_make_the_step_of_one_large_batch(
    session: MakeSession, tmp_path: Path, penalty: str
) -> None:
    """1,437 samples: the last group is short (29 of 64), and its last batch is too (13 of 16)."""
    common = (*PLAIN, penalty, "training.epochs=2")
    large = session(*common, "data.batch_size=64", checkpoints=tmp_path / "large")
    small = session(
        *common, "data.batch_size=16", "training.grad_accum_steps=4", checkpoints=tmp_path / "small"
    )
    assert small.setup.steps_per_epoch == large.setup.steps_per_epoch == 23
    large.trainer.run()
    small.trainer.run()
    assert small.event_queue.points[-1].step == 46
    torch.testing.assert_close(flat(weights(small)), flat(weights(large)), rtol=1e-4, atol=1e-6)
    for (_, one), (_, other) in zip(small.event_queue.losses, large.event_queue.losses, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_all_gradients_together_are_clipped_to_the_norm(session: MakeSession) -> None:
    run = session(*PLAIN, "training.max_steps=3", "training.clip_norm=0.05")
    seen = after_each_step(run)
    run.trainer.run()
    for before, after, point in zip(seen, seen[1:], run.event_queue.points, strict=False):
        assert point.metrics["grad_norm"] > 0.05  # before clipping
        assert (flat(after) - flat(before)).norm().item() == pytest.approx(0.1 * 0.05, rel=1e-3)


def test_gradients_are_clipped_to_the_norm_of_another_type(session: MakeSession) -> None:
    run = session(*PLAIN, "training.max_steps=3", "training.clip_norm=0.001", "training.clip_norm_type=inf")
    seen = after_each_step(run)
    run.trainer.run()
    for before, after, point in zip(seen, seen[1:], run.event_queue.points, strict=False):
        assert point.metrics["grad_norm"] > 0.001  # the largest gradient before clipping
        assert (flat(after) - flat(before)).abs().max().item() == pytest.approx(0.1 * 0.001, rel=1e-3)


def test_gradients_are_clipped_by_value_one_by_one(session: MakeSession, tmp_path: Path) -> None:
    free = session(*PLAIN, "training.max_steps=1", checkpoints=tmp_path / "free")
    clipped = session(
        *PLAIN, "training.max_steps=1", "training.clip_value=0.001", checkpoints=tmp_path / "clipped"
    )
    moves = []
    for run in (free, clipped):
        seen = after_each_step(run)
        run.trainer.run()
        moves.append((flat(seen[0]) - flat(seen[1])) / 0.1)
    assert moves[0].abs().max() > 0.001
    torch.testing.assert_close(moves[1], moves[0].clamp(-0.001, 0.001), rtol=1e-3, atol=1e-6)


def test_the_average_equals_its_closed_form_and_is_evaluated_and_saved(session: MakeSession) -> None:
    decay = 0.8
    run = session(*PLAIN, f"ema.decay={decay}", "training.epochs=1")
    seen = after_each_step(run)
    run.trainer.run()
    steps = len(seen) - 1
    expected = decay**steps * flat(seen[0]).double()
    for number, after in enumerate(seen[1:], start=1):
        expected += (1 - decay) * decay ** (steps - number) * flat(after).double()
    assert run.setup.ema is not None
    average = flat([weight.detach() for weight in run.setup.ema.module.parameters()])
    torch.testing.assert_close(average.double(), expected, rtol=1e-4, atol=1e-6)

    [evaluation] = run.event_queue.of(ev.EvaluationCompleted)
    by_hand = evaluate(run.setup.ema.module, run.setup.loss_fn, run.setup.data.val, run.setup.metrics)
    assert evaluation.metrics["val/ema_loss"] == pytest.approx(by_hand["val/loss"])
    assert evaluation.metrics["val/ema_loss"] != evaluation.metrics["val/loss"]
    saved = newest_valid(run.checkpoints)[1]["ema"]["module"]
    assert all(torch.equal(saved[name], value) for name, value in run.setup.ema.module.state_dict().items())


def test_the_average_can_be_monitored(session: MakeSession) -> None:
    run = session("ema.decay=0.9", "early_stopping.monitor=val/ema_accuracy", "early_stopping.mode=max")
    assert run.trainer.run().reason.startswith("early stopping: val/ema_accuracy")
    setup = session("early_stopping.monitor=val/ema_accuracy").setup
    with pytest.raises(ComponentError, match="did you mean 'val/accuracy'"):
        dry_run(setup, first_batch(setup))


def mixing(name: str) -> str:
    return f'data.transforms.batch=[{{name="{name}", alpha=0.7}}]'


def test_mixup_mixes_inputs_and_targets_with_the_one_before(session: MakeSession, tmp_path: Path) -> None:
    """With l drawn: l x_i + (1 - l) x_(i-1), and the loss is l CE(y_i) + (1 - l) CE(y_(i-1))."""
    plain = session(preset="digits-cnn", checkpoints=tmp_path / "plain").setup
    mixed = session(
        mixing("MixUp"), "loss.label_smoothing=0.0", preset="digits-cnn", checkpoints=tmp_path / "mixed"
    ).setup
    inputs, targets = next(iter(plain.data.train.epoch(0, 5)))
    mixed_inputs, mixed_targets = next(iter(mixed.data.train.epoch(0, 5)))
    onehot = F.one_hot(targets, 10).float()
    differs = onehot.argmax(1) != onehot.roll(1, 0).argmax(1)
    lam = float((mixed_targets * onehot).sum(1)[differs][0])
    assert 0 < lam < 1
    torch.testing.assert_close(mixed_inputs, lam * inputs + (1 - lam) * inputs.roll(1, 0))
    torch.testing.assert_close(mixed_targets, lam * onehot + (1 - lam) * onehot.roll(1, 0))
    outputs = torch.randn(len(targets), 10)
    by_hand = lam * F.cross_entropy(outputs, targets) + (1 - lam) * F.cross_entropy(
        outputs, targets.roll(1, 0)
    )
    assert mixed.loss_fn(outputs, mixed_targets).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_cutmix_takes_a_box_of_the_one_before_and_its_share_of_the_label(
    session: MakeSession, tmp_path: Path
) -> None:
    plain = session(preset="digits-cnn", checkpoints=tmp_path / "plain").setup
    mixed = session(mixing("CutMix"), preset="digits-cnn", checkpoints=tmp_path / "mixed").setup
    cut = 0
    for (inputs, targets), (mixed_inputs, mixed_targets) in zip(
        plain.data.train.epoch(0), mixed.data.train.epoch(0), strict=True
    ):
        taken = (mixed_inputs != inputs).any(0).any(0)  # (H, W): where any image has changed
        rows, columns = taken.any(1).nonzero().flatten(), taken.any(0).nonzero().flatten()
        if not len(rows):
            continue
        cut += 1
        box = (..., slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
        expected = inputs.clone()
        expected[box] = inputs.roll(1, 0)[box]
        torch.testing.assert_close(mixed_inputs, expected)
        onehot = F.one_hot(targets, 10).float()
        torch.testing.assert_close(mixed_targets.sum(1), torch.ones(len(targets)))
        assert ((mixed_targets > 0) <= (onehot + onehot.roll(1, 0) > 0)).all()
    assert cut > 5


def test_a_mixed_batch_is_a_function_of_seed_epoch_and_batch(session: MakeSession, tmp_path: Path) -> None:
    both = 'data.transforms.batch=[{name="MixUp"}, {name="CutMix"}]'
    tasks = [session(both, preset="digits-cnn", checkpoints=tmp_path / name).setup for name in "ab"]
    torch.rand(7)  # what else is drawn makes no difference
    state = torch.get_rng_state()
    uninterrupted = list(tasks[0].data.train.epoch(3))
    assert torch.equal(torch.get_rng_state(), state)
    rest = list(tasks[1].data.train.epoch(3, 10))
    for one, other in zip(uninterrupted[10:], rest, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert not torch.equal(uninterrupted[0][1], next(iter(tasks[0].data.train.epoch(4)))[1])


def test_mixing_is_refused_for_inputs_that_are_not_images(session: MakeSession) -> None:
    with pytest.raises(ComponentError, match=r"batch.0: MixUp is for images, but an input has shape \(13,\)"):
        session(mixing("MixUp"), preset="wine-mlp")


def test_label_smoothing_follows_the_paper(session: MakeSession) -> None:
    """Szegedy et al. 2016: the target is (1 - e) onehot + e / K."""
    loss_fn = session("loss.label_smoothing=0.1").setup.loss_fn
    outputs, targets = torch.randn(5, 10), torch.tensor([0, 3, 9, 3, 1])
    smooth = 0.9 * F.one_hot(targets, 10).float() + 0.1 / 10
    by_hand = -(smooth * outputs.log_softmax(1)).sum(1).mean()
    assert loss_fn(outputs, targets).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_bf16_computes_in_bf16_and_keeps_its_weights_in_fp32(session: MakeSession) -> None:
    run = session(*PLAIN, "training.precision=bf16", "training.epochs=3")
    seen: set[torch.dtype] = set()
    run.setup.model.register_forward_hook(lambda module, inputs, outputs: seen.add(outputs.dtype))
    run.trainer.run()
    assert seen == {torch.bfloat16}
    assert {weight.dtype for weight in run.setup.model.parameters()} == {torch.float32}
    assert (run.event_queue.of(ev.EvaluationCompleted)[-1].metrics["val/accuracy"] or 0) > 0.8


def test_fp16_scales_the_loss_and_counts_the_steps_it_skips(session: MakeSession) -> None:
    """A scale far too large overflows; each skipped step halves it, and the schedule does not advance."""
    run = session(
        *PLAIN,
        "training.precision=fp16",
        "training.epochs=2",
        'schedule=[{name="ExponentialLR", interval="step", gamma=0.9}]',
    )
    scaler = run.setup.precision.scaler
    assert scaler is not None
    scaler.load_state_dict(scaler.state_dict() | {"scale": 2.0**40})
    run.trainer.run()
    skipped = run.state.progress.skipped
    assert skipped > 10
    assert run.state.progress.step == 46 - skipped
    assert run.event_queue.points[-1].metrics["skipped_steps"] == skipped
    lrs = [point.metrics["lr"] for point in run.event_queue.points]
    assert lrs == pytest.approx([0.1 * 0.9**n for n in range(len(lrs))])
    assert run.event_queue.losses[-1][1] < run.event_queue.losses[0][1]


def test_auto_is_fp32_on_the_cpu_and_tf32_is_refused_there() -> None:
    assert choose_precision("auto", torch.device("cpu")).name == "fp32"
    with pytest.raises(DeviceError, match=r"training.precision: tf32 needs an NVIDIA GPU"):
        choose_precision("tf32", torch.device("cpu"))


def test_channels_last_changes_only_the_memory_format(session: MakeSession, tmp_path: Path) -> None:
    common = (*PLAIN, "training.max_steps=3")
    runs = [
        session(*common, *more, preset="digits-cnn", checkpoints=tmp_path / str(len(more)))
        for more in ((), ("training.channels_last=true",))
    ]
    for run in runs:
        run.trainer.run()
    kernel = next(weight for weight in runs[1].setup.model.parameters() if weight.ndim == 4)
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    for (_, one), (_, other) in zip(runs[0].event_queue.losses, runs[1].event_queue.losses, strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_a_compiled_model_trains_as_it_does_uncompiled(session: MakeSession, tmp_path: Path) -> None:
    losses = []
    for more in ("training.compile=false", "training.compile=true"):
        run = session(
            *PLAIN, "data.drop_last=true", "training.max_steps=8", more, checkpoints=tmp_path / more
        )
        run.trainer.run()
        losses.append([loss for _, loss in run.event_queue.losses])
        assert not any("_orig_mod" in name for name in newest_valid(run.checkpoints)[1]["model"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_missing_compiler_is_reported(session: MakeSession) -> None:
    no_compiler = torch._inductor.config.patch({"cpp.cxx": ("/nonexistent",), "force_disable_caches": True})
    message = r"training.compile: the model cannot be compiled: .*compiler"
    with no_compiler, pytest.raises(ComponentError, match=message):
        session("training.compile=true", "model.hidden=[31]")


def test_a_schedule_is_fitted_to_the_limit_on_steps(session: MakeSession) -> None:
    run = session("training.max_steps=34", 'schedule=[{name="LinearLR", end_factor=0.0, start_factor=1.0}]')
    run.trainer.run()
    [started] = run.event_queue.of(ev.RunStarted)
    assert (started.total_steps, started.total_epochs) == (34, 2)
    assert run.trainer.learning_rate.current == pytest.approx(0.0, abs=1e-9)


def test_the_time_limit_ends_the_run(session: MakeSession) -> None:
    run = session("training.max_minutes=0.01", "training.epochs=100000", "early_stopping=")
    outcome = run.trainer.run()
    assert outcome.reason == "the time is up: training.max_minutes is 0.01"
    assert 0.6 <= run.state.progress.active_seconds < 30


def test_the_weights_of_the_best_step_are_restored(session: MakeSession) -> None:
    run = session("early_stopping.patience=3", "early_stopping.restore_best=true", "optimizer.lr=0.05")
    outcome = run.trainer.run()
    best = run.state.early_stopping.best
    assert best is not None
    assert best.step < (outcome.step or 0)
    assert f"the weights are those of step {best.step:,}" in outcome.reason
    setup = run.setup
    again = evaluate(setup.model, setup.loss_fn, setup.data.val, setup.metrics)
    assert again["val/loss"] == pytest.approx(best.value, rel=1e-6)
    last, state, _ = newest_valid(run.checkpoints)
    assert last.name == f"step-{outcome.step:08d}"
    assert all(torch.equal(state["model"][name], value) for name, value in setup.model.state_dict().items())


def test_deterministic_algorithms_are_requested_from_torch(session: MakeSession) -> None:
    session("training.deterministic=true")
    try:
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        session("training.deterministic=false")
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_missing_best_checkpoint_costs_nothing_else(session: MakeSession) -> None:
    run = session("early_stopping.patience=3", "early_stopping.restore_best=true", "optimizer.lr=0.05")
    flush = run.manager.flush

    def flush_and_lose_it() -> str:
        failure = flush()
        shutil.rmtree((run.checkpoints / "best").resolve(), ignore_errors=True)
        return failure

    run.manager.flush = flush_and_lose_it  # type: ignore[method-assign]
    outcome = run.trainer.run()
    assert "the best weights cannot be restored" in outcome.reason
    assert newest_valid(run.checkpoints)[0].name == f"step-{outcome.step:08d}"


def test_a_run_that_ended_with_its_best_weights_resumes_with_its_last(
    session: MakeSession, tmp_path: Path
) -> None:
    common = (
        "training.epochs=6",
        "early_stopping.patience=50",
        "optimizer.lr=0.05",
        "schedule=[]",
        "ema.decay=0.9",
    )
    ended = session(*common, "early_stopping.restore_best=true", checkpoints=tmp_path / "ended")
    assert "the weights are those of step" in ended.trainer.run().reason
    longer = ("training.epochs=8", *common[1:])
    further = session(*longer, checkpoints=tmp_path / "ended")
    further.state.load_state_dict(newest_valid(tmp_path / "ended")[1])
    further.trainer.run()
    uninterrupted = session(*longer, checkpoints=tmp_path / "uninterrupted")
    uninterrupted.trainer.run()
    assert all(
        torch.equal(one, other) for one, other in zip(weights(further), weights(uninterrupted), strict=True)
    )


class RemembersItsOutputs(nn.Module):
    """A model that keeps a tensor of its last pass, as spectral_norm does."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        self.outputs: Tensor = self.head(images.flatten(1))
        return self.outputs


def test_weights_of_a_model_that_keeps_tensors_of_a_pass_are_averaged() -> None:
    """Such a model cannot be copied after a pass."""
    parts = parts_for(load_preset("digits-mlp", ["ema.decay=0.9"]))
    parts.model = RemembersItsOutputs()
    setup = build_setup(parts, ignore_phase)
    assert setup.ema is not None
    assert torch.equal(setup.ema.module.head.weight, parts.model.head.weight)
