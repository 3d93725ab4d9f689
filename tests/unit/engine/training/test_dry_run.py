"""The dry run finds what would end a run later, and leaves the training as it was, to the last bit."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.sessions import MakeSession, parts_for, setup_for, weights
from torchconsole.engine.analysis.findings import find
from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.reports import StepMemory
from torchconsole.engine.training.dry_run import DryRun, dry_run
from torchconsole.engine.training.randomness import random_state
from torchconsole.engine.training.setup import TrainingSetup, build_setup
from torchconsole.engine.training.trial import first_batch

NARROW = 10


class Traces(nn.Module):
    """A model whose forward pass leaves every kind of trace that a model can leave."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(64)
        self.layer = nn.utils.spectral_norm(nn.Linear(64, NARROW))
        self.drop = nn.Dropout(0.3)
        self.register_buffer("calls", torch.zeros(()))
        self.count = 0
        self.seen: list[int] = []
        self.last: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        self.calls = self.calls + 1
        self.count += 1
        self.seen.append(len(images))
        features = self.drop(self.norm(images.flatten(1))) + 0.01 * random.random() + 0.01 * np.random.rand()
        if self.count > 3:
            self.layer.weight_orig.data.mul_(0.999)
        self.last = self.layer(features)
        self.later = self.last
        return self.last


def trained(model: nn.Module, *overrides: str, preset: str = "digits-mlp") -> TrainingSetup:
    parts = parts_for(load_preset(preset, overrides))
    parts.model = model
    return build_setup(parts, lambda phase: None)


def tried(setup: TrainingSetup, **options: Any) -> DryRun:
    return dry_run(setup, first_batch(setup), **options)


def everything(setup: TrainingSetup) -> list[Any]:
    """All that a dry run could change."""
    plain = {key: copy.copy(value) for key, value in vars(setup.model).items() if key[0] != "_"}
    return [
        copy.deepcopy(setup.model.state_dict()),
        copy.deepcopy(setup.optimizer.state_dict()),
        copy.deepcopy(setup.learning_rate.state_dict()),
        copy.deepcopy(setup.ema.state_dict()) if setup.ema else None,
        [module.training for module in setup.model.modules()],
        random_state(),
        plain,
    ]


def assert_same(left: Any, right: Any) -> None:
    """Compare to the last bit, also what is inside."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        left, right = list(left.values()), list(right.values())
    if isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif isinstance(left, Tensor):
        torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)
    else:
        assert left == right


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer={name='Adagrad', lr=0.1}", "ema.decay=0.9"],
        ["optimizer={name='SGD', lr=0.1, momentum=0.9}", "training.clip_norm=1.0", "loss.l2=0.01"],
        ["training.grad_accum_steps=3", "training.nonfinite=skip"],
    ],
)
def test_everything_is_as_before(overrides: list[str]) -> None:
    setup = trained(Traces(), *overrides)
    before = everything(setup)
    seen = tried(setup)
    assert_same(everything(setup), before)
    find(setup, seen)
    assert_same(everything(setup), before)
    assert all(parameter.grad is None for parameter in setup.model.parameters())


def test_a_training_is_the_same_with_and_without_a_dry_run(session: MakeSession, tmp_path: Any) -> None:
    overrides = ("training.max_steps=5", "ema.decay=0.9", "optimizer={name='AdamW', lr=0.01}")
    runs = []
    for name in ("with", "without"):
        run = session(*overrides, preset="digits-cnn", checkpoints=tmp_path / name)
        if name == "with":
            tried(run.setup)
        run.trainer.run()
        runs.append([weights(run), run.event_queue.losses])
    assert_same(*runs)


def test_an_operation_without_a_deterministic_form_is_named_with_the_remedy() -> None:
    def put(model: nn.Module, outputs: Tensor) -> Tensor:
        return outputs.clone().put_(torch.tensor([0]), torch.ones(1))

    try:
        with pytest.raises(
            ComponentError, match=r"put_ does not have .*; replace this operation, or set train"
        ):
            trained(Scores(put), "training.deterministic=true")
    finally:
        torch.use_deterministic_algorithms(False)


def test_it_reports_what_it_saw() -> None:
    setup = setup_for(load_preset("digits-mlp", ["data.batch_size=32"]))
    seen = tried(setup, batch_seconds=0.5)
    assert seen.loss == pytest.approx(2.3, abs=0.2)
    assert isinstance(seen.outputs, Tensor)
    assert seen.outputs.shape == (32, 10)
    assert set(seen.gradients) == {name for name, _ in setup.model.named_parameters()}
    assert all(norm is not None and norm > 0 for norm in seen.gradients.values())
    assert len(seen.eval_batch[1]) == 32
    assert torch.equal(seen.eval_outputs, seen.eval_outputs_again)  # type: ignore[arg-type]
    assert not seen.eval_outputs.is_inference()  # type: ignore[attr-defined]
    assert seen.buffers_changed_in_eval == []
    assert "val/accuracy" in seen.metrics
    assert 0 < seen.step_seconds < 1
    assert seen.batch_seconds == 0.5
    parameters = 4 * sum(parameter.numel() for parameter in setup.model.parameters())
    assert seen.memory_bytes is not None
    assert 4 * parameters <= seen.memory_bytes < 8 * parameters, "weights, gradients and AdamW's two moments"


MLP = (
    "model={layers=[{name='Flatten'}, {name='Linear', in_features=64, out_features=32}, {name='ReLU'}, "
    "{name='Linear', in_features=32, out_features=10}]}"
)
MLP_PARAMETERS = 64 * 32 + 32 + 32 * 10 + 10


@pytest.mark.parametrize(
    ("optimizer", "state"),
    [
        ("{name='SGD', lr=0.01}", 0),
        ("{name='SGD', lr=0.01, momentum=0.9}", 4 * MLP_PARAMETERS),
        # Two moments, and a counter of steps for each of the four parameters.
        ("{name='Adam', lr=0.01}", 2 * 4 * MLP_PARAMETERS + 4 * 4),
    ],
)
def test_the_memory_of_a_step_is_what_a_hand_computes(optimizer: str, state: int) -> None:
    setup = setup_for(load_preset("digits-mlp", [MLP, f"optimizer={optimizer}", "data.batch_size=16"]))
    seen = tried(setup)
    # Kept for the backward pass: the images, the ReLU's output, the log-softmax, targets and their weight.
    activations = 16 * (64 * 4 + 32 * 4 + 10 * 4 + 8) + 4
    assert seen.memory_parts == StepMemory(
        parameters=4 * MLP_PARAMETERS,
        buffers=0,
        gradients=4 * MLP_PARAMETERS,
        optimizer=state,
        activations=activations,
    )
    assert seen.memory_bytes == 8 * MLP_PARAMETERS + state + activations


def test_frozen_parameters_have_no_gradients() -> None:
    setup = setup_for(
        load_preset("digits-mlp", [MLP, "model.freeze=['1.*']", "optimizer={name='SGD', lr=0.01}"])
    )
    parts = tried(setup).memory_parts
    assert parts is not None
    assert (parts.parameters, parts.gradients) == (4 * MLP_PARAMETERS, 4 * (32 * 10 + 10))


class Scores(nn.Module):
    """A linear classifier, whose outputs `change` turns into something else."""

    def __init__(self, change: Callable[[nn.Module, Tensor], object], width: int = NARROW) -> None:
        super().__init__()
        self.layer = nn.Linear(64, width)
        self.change = change

    def forward(self, images: Tensor) -> object:
        return self.change(self, self.layer(images.flatten(1)))


def fails(model: nn.Module, *overrides: str) -> str:
    with pytest.raises(ComponentError) as caught:
        tried(trained(model, *overrides))
    return str(caught.value)


def test_a_last_batch_of_one_sample_under_batch_norm() -> None:
    """1,437 samples: 359 batches of 4 and one sample."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    message = fails(model, "data.batch_size=4")
    assert message.startswith("data.batch_size: the last batch of an epoch has only 1 sample, and the model")
    assert "set data.drop_last = true, or another data.batch_size" in message
    tried(trained(model, "data.batch_size=4", "data.drop_last=true"))
    tried(trained(model, "data.batch_size=5"))


class OwnError(Exception):
    """An error of user code."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OwnError("need 50\nsecond line"), "OwnError: need 50 ("),
        (StopIteration(), "StopIteration ("),
        (NotImplementedError("no"), "no ("),
        (FileNotFoundError(2, "No such file", "table.csv"), "No such file"),
    ],
)
def test_any_exception_of_a_model_has_its_line_and_the_remedy(error: Exception, text: str) -> None:
    def only_large(model: nn.Module, scores: Tensor) -> Tensor:
        if model.training and len(scores) < 50:
            raise error
        return scores

    message = fails(Scores(only_large), "data.batch_size=64")
    assert message.startswith("data.batch_size: the last batch of an epoch has only 29 samples")
    assert "set data.drop_last = true, or another data.batch_size" in message
    assert text in message
    assert "test_dry_run.py, line" in message
    assert "\n" not in message


@pytest.mark.parametrize("error", [OwnError("broken"), StopIteration()])
def test_any_exception_of_a_loss_an_optimizer_or_an_evaluation(error: Exception) -> None:
    def fail(*arguments: object, **keywords: object) -> Any:
        raise error

    setup = trained(Scores(lambda model, scores: scores if model.training else fail()))
    with pytest.raises(ComponentError, match=r"evaluation of the validation data: model: .*test_dry_run.py"):
        tried(setup)
    setup = trained(Scores(lambda model, scores: scores))
    setup.optimizer.step = fail  # type: ignore[method-assign]
    with pytest.raises(ComponentError, match="optimizer: AdamW cannot make a step with this model"):
        tried(setup)
    setup.loss_fn.forward = fail  # type: ignore[method-assign]
    with pytest.raises(ComponentError, match="loss: CrossEntropyLoss does not take outputs of shape"):
        tried(setup)


def test_a_tensor_that_a_model_keeps_with_its_graph() -> None:
    class Keeps(Scores):
        def __init__(self, detach: bool) -> None:
            super().__init__(lambda model, scores: scores)
            self.detach, self.state = detach, torch.zeros(10)

        def forward(self, images: Tensor) -> object:
            state = self.layer(images.flatten(1)).mean(0) + 0.5 * self.state
            self.state = state.detach() if self.detach else state
            return self.layer(images.flatten(1)) + self.state

    message = fails(Keeps(detach=False))
    assert message.startswith("model: MLP or its loss keeps a tensor (model.state) with the graph")
    assert "self.state = state.detach()" in message
    tried(trained(Keeps(detach=True)))


def test_a_scripted_module_is_tried_and_restored() -> None:
    class Scripted(Scores):
        def __init__(self) -> None:
            super().__init__(lambda model, scores: model.inner(scores))
            self.inner = torch.jit.script(nn.Sequential(nn.BatchNorm1d(10), nn.Dropout(0.5)))

    model = Scripted()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tried(trained(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_last_evaluation_batch_that_loses_its_dimension() -> None:
    def squeezed(model: nn.Module, scores: Tensor) -> Tensor:
        return scores if model.training else scores.unsqueeze(1).squeeze()

    tried(trained(Scores(squeezed), "data.eval_batch_size=359"))
    failing = Scores(lambda model, scores: squeezed(model, scores).log_softmax(1))
    message = fails(failing, "data.eval_batch_size=359")
    assert "data.eval_batch_size: the last batch of the validation data has 1 sample, and" in message
    assert "Dimension out of range" in message
    tried(trained(failing, "data.eval_batch_size=60"))


def test_a_tuple_in_eval_mode() -> None:
    def tuple_in_eval(model: nn.Module, scores: Tensor) -> object:
        return scores if model.training else (scores, scores)

    message = fails(Scores(tuple_in_eval))
    assert "a tuple of 2 ((64, 10), (64, 10))" in message


def test_classes_instead_of_scores_in_eval_mode() -> None:
    def classes_in_eval(model: nn.Module, scores: Tensor) -> Tensor:
        return scores if model.training else scores.argmax(1, keepdim=True).float()

    message = fails(Scores(classes_in_eval))
    assert message.startswith("evaluation of the validation data: model: the model has 1 output")


def test_a_tuple_in_train_mode() -> None:
    message = fails(Scores(lambda model, scores: (scores, scores)))
    assert message.startswith("loss: CrossEntropyLoss does not take a tuple of 2")
    assert "return one tensor" in message


def test_too_many_outputs() -> None:
    message = fails(Scores(lambda model, scores: scores, width=1000))
    assert "has 1,000 outputs for each sample, but the data has 10 classes: it must have 10" in message


def test_an_assertion_about_the_batch_size_fails_before_the_run() -> None:
    def only_full(model: nn.Module, scores: Tensor) -> Tensor:
        assert len(scores) == 64
        return scores

    message = fails(Scores(only_full), "data.batch_size=64")
    assert "assert" in message
    assert "test_dry_run.py, line" in message
    assert message.endswith("set data.eval_batch_size = 64 if it takes only batches as large as in training")


def test_outputs_without_gradient() -> None:
    message = fails(Scores(lambda model, scores: scores.detach()))
    assert message.startswith("model: nothing can be trained, since the loss does not depend on a parameter")


def test_a_tensor_that_is_cached_in_an_evaluation() -> None:
    class Caches(Scores):
        scale: Tensor | None = None

        def forward(self, images: Tensor) -> object:
            if self.scale is None or not self.training:
                self.scale = torch.ones(10) * (1 if self.training else 2)
            return self.layer(images.flatten(1)) * self.scale

    message = fails(Caches(lambda model, scores: scores))
    assert "created during an evaluation" in message


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("build", [Tensor.to_sparse, Tensor.to_sparse_csr])
def test_a_sparse_buffer(build: Callable[[Tensor], Tensor]) -> None:
    """As a graph's adjacency matrix; the evaluation here changes it."""
    twice = build(torch.eye(NARROW) * 2)

    def forward(model: Any, scores: Tensor) -> Tensor:
        if not model.training:
            model.graph = twice
        return torch.sparse.mm(model.graph, scores.T).T

    model = Scores(forward)
    model.register_buffer("graph", build(torch.eye(NARROW)))
    seen = tried(trained(model))
    assert seen.memory_bytes
    assert seen.buffers_changed_in_eval == ["graph"]
    assert torch.equal(model.graph.to_dense(), torch.eye(NARROW))


def test_memory_that_cannot_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tensor: Tensor) -> int:
        raise NotImplementedError

    monkeypatch.setattr("torchconsole.engine.training.dry_run.count_bytes", fail)
    assert tried(trained(Scores(lambda model, scores: scores))).memory_bytes is None


def test_a_loss_that_writes_to_its_targets() -> None:
    class Shifts(nn.Module):
        def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
            assert targets.max() < 10, "a second call gets the same targets"
            return nn.functional.cross_entropy(outputs, targets.add_(10) - 10)

    setup = trained(Scores(lambda model, scores: scores), "metrics=[]")
    setup.loss_fn = Shifts()
    batch = first_batch(setup)
    before = batch[1].clone()
    dry_run(setup, batch)
    assert torch.equal(batch[1], before)


def test_fp16_is_tried_down_to_a_scale_of_1() -> None:
    # Not a list: the dry run empties one that the model's functions fill.
    scales: SimpleQueue[float] = SimpleQueue()
    setup = trained(Scores(lambda model, scores: scores))
    scaler = torch.amp.GradScaler("cpu")
    setup.precision = replace(setup.precision, scaler=scaler)

    def overflows(scores: Tensor) -> Tensor:
        scales.put(scaler.get_scale())
        return scores * torch.inf

    setup.model.change = lambda model, scores: overflows(scores) if model.training else scores
    assert tried(setup).scaler_skipped
    assert min(scales.get() for _ in range(scales.qsize() - 1)) == 1.0


@pytest.mark.parametrize("override", ["training.nonfinite=skip", "ema.decay=0.9"])
def test_buffers_that_torch_does_not_write_to(override: str) -> None:
    """A buffer whose elements share memory, and a sparse one."""
    model = Scores(lambda model, scores: torch.sparse.mm(model.graph, scores.T).T + model.shift[0])
    model.register_buffer("graph", torch.eye(NARROW).to_sparse())
    model.register_buffer("shift", torch.arange(NARROW).expand(4, NARROW))
    seen = tried(trained(model, override))
    assert not seen.buffers_changed_in_eval


class Two(Ranks):
    """Two processes, of which the other one has not been started."""

    size = 2


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_an_optimizer_whose_state_does_not_fit_is_tried_once_it_is_sharded(
    monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    setup = setup_for(load_preset("digits-mlp", [f"distributed.strategy={strategy}"]))
    setup.ranks = Two()

    def step(optimizer: torch.optim.Optimizer) -> None:
        optimizer.state[optimizer.param_groups[0]["params"][0]]["exp_avg"] = torch.zeros(3)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(setup.optimizer), "step", step)
    batch = first_batch(setup)
    if strategy == "ddp":
        with pytest.raises(torch.OutOfMemoryError):
            dry_run(setup, batch)
        return
    seen = dry_run(setup, batch)
    assert (seen.memory_bytes, seen.step_seconds) == (None, 0.0)
    assert not setup.optimizer.state
