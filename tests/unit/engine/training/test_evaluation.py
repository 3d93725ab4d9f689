"""When the model is evaluated, and how a slow evaluation is reported."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.sessions import MakeSession
from tests.support.specs import trusted_file
from torchconsole.engine.components import phase_progress
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.training.evaluation import evaluate


def test_evaluations_every_so_many_steps_and_at_the_end(session: MakeSession) -> None:
    run = session(
        "training.eval_interval=step", "training.eval_every=10", "training.max_steps=34", "early_stopping="
    )
    outcome = run.trainer.run()
    assert [event.step for event in run.event_queue.of(ev.EvaluationCompleted)] == [10, 20, 30, 34]
    assert (outcome.step, outcome.status) == (34, "finished")
    assert outcome.reason == "all steps done: training.max_steps is 34"


def test_a_slow_evaluation_reports_its_progress(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phase_progress, "INTERVAL", 0.0)
    run = session("training.epochs=1", "ema.decay=0.9")
    run.trainer.run()
    samples = run.setup.data.val.samples
    phases = run.event_queue.of(ev.PhaseChanged)
    reports = [phase for phase in phases if phase.phase == "evaluating" and phase.done is not None]
    assert [(phase.done, phase.total, phase.unit) for phase in reports[-1:]] == [
        (2 * samples, 2 * samples, "samples")
    ]
    assert [phase.done for phase in reports] == sorted(phase.done for phase in reports)
    assert all(phase.began for phase in reports)
    assert phases[-1].phase != "evaluating"


def test_evaluations_every_other_epoch(session: MakeSession) -> None:
    run = session("training.eval_every=2", "training.epochs=5", "early_stopping=")
    run.trainer.run()
    assert [event.epoch for event in run.event_queue.of(ev.EvaluationCompleted)] == [2, 4, 5]


def test_a_metric_that_cannot_be_computed_is_no_improvement_and_says_why_once(
    session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    run = session(
        "data.val_split=5",
        "data.stratify=false",
        "metrics=[{name='AUROC'}, {name='Accuracy'}]",
        "early_stopping={monitor='val/auroc', patience=3}",
        "training.epochs=9",
    )
    with caplog.at_level(logging.WARNING):
        outcome = run.trainer.run()
    assert "val/auroc has not improved for 3 evaluations" in outcome.reason
    evaluations = run.event_queue.of(ev.EvaluationCompleted)
    assert len(evaluations) == 3
    for event in evaluations:
        assert event.metrics["val/auroc"] is None
        assert event.metrics["val/accuracy"] is not None
        assert event.nonfinite == {}
    (reason,) = (line for line in caplog.messages if "n/a" in line)
    assert reason.startswith("val/auroc is n/a at step ")
    assert reason.endswith("; early stopping counts this as no improvement")
    assert "none of the 5 samples is of class" in reason
    assert run.state.early_stopping.best is None


def test_a_regression_reports_a_sample_in_the_unit_of_its_targets(session: MakeSession) -> None:
    run = session(
        "data.name=diabetes", "model={name='MLP'}", "loss.name=auto", "early_stopping=", "training.epochs=1"
    )
    run.trainer.run()
    (event,) = run.event_queue.of(ev.EvaluationCompleted)
    assert event.confusion is None
    assert event.no_tables == ""
    assert event.regression is not None
    (shown,) = event.regression.shown
    assert event.regression.samples == len(shown.true)
    differences = [abs(one - other) for one, other in zip(shown.predicted, shown.true, strict=True)]
    assert sum(differences) / len(differences) == pytest.approx(event.metrics["val/mae"], rel=1e-4)
    assert max(shown.true) > 100


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        (
            "[{name='Accuracy'}]",
            'the preset has no such metric: add [[metrics]] with name = "ConfusionMatrix"',
        ),
        ("[{name='ConfusionMatrix'}]", ""),
    ],
)
def test_an_evaluation_says_why_there_is_no_matrix(session: MakeSession, metrics: str, reason: str) -> None:
    run = session(f"metrics={metrics}", "early_stopping=", "training.epochs=1")
    run.trainer.run()
    event = run.event_queue.of(ev.EvaluationCompleted)[-1]
    assert event.no_tables == reason
    assert event.has_tables
    assert (event.confusion is None) == bool(reason)


def test_an_evaluation_keeps_the_samples_with_the_highest_losses(session: MakeSession) -> None:
    run = session("training.epochs=2", "evaluation.worst=4")
    run.trainer.run()
    event = run.event_queue.of(ev.EvaluationCompleted)[-1]
    run.setup.model.eval()
    with torch.inference_mode():
        pairs = [(run.setup.model(inputs), targets) for inputs, targets in run.setup.data.val]
    outputs, targets = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    highest = torch.nn.functional.cross_entropy(outputs, targets, reduction="none").topk(4)
    assert [each.index for each in event.worst] == highest.indices.tolist()
    assert [each.loss for each in event.worst] == pytest.approx(highest.values.tolist(), rel=1e-5)
    assert [each.label for each in event.worst] == [str(int(targets[at])) for at in highest.indices]
    assert [each.predicted for each in event.worst] == [
        str(int(outputs[at].argmax())) for at in highest.indices
    ]
    places = run.setup.data.places["validation"]
    assert [each.place for each in event.worst] == [places(at) for at in highest.indices.tolist()]


def test_the_worst_samples_change_nothing_else_and_can_be_off(session: MakeSession) -> None:
    found = []
    for worst in (0, 9):
        run = session("training.epochs=2", "ema.decay=0.9", f"evaluation.worst={worst}")
        run.trainer.run()
        events = run.event_queue.of(ev.EvaluationCompleted)
        assert [len(event.worst) for event in events] == [worst, worst]
        kept = [event.model_dump(exclude={"time", "seconds", "worst"}) for event in events]
        found.append((kept, run.event_queue.losses, torch.get_rng_state().tolist()))
    assert found[0] == found[1]


def test_a_loss_of_the_users_own_has_no_worst_samples_and_says_so_once(
    session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = "from torch import nn\nclass Own(nn.CrossEntropyLoss): pass\n"
    file = trusted_file(tmp_path, monkeypatch, code)
    run = session("training.epochs=2", f"loss.name={file}:Own")
    with caplog.at_level(logging.INFO):
        run.trainer.run()
    assert [event.worst for event in run.event_queue.of(ev.EvaluationCompleted)] == [[], []]
    (line,) = (line for line in caplog.messages if "highest losses" in line)
    assert "gives one number for a whole batch" in line


def test_idle_passes_count_for_nothing(session: MakeSession) -> None:
    setup = session("training.epochs=1").setup
    batches = [(inputs[:5], targets[:5]) for inputs, targets in setup.data.val]
    passes: list[Tensor] = []

    def write_to_inputs(model: nn.Module, inputs: tuple[Tensor]) -> None:
        passes.append(inputs[0].clone())
        inputs[0].add_(1.0)

    setup.model.register_forward_pre_hook(write_to_inputs)

    def evaluated(idle_passes: int) -> Metrics:
        copies = [(inputs.clone(), targets) for inputs, targets in batches]
        return evaluate(setup.model, setup.loss_fn, copies, setup.metrics, idle_passes=idle_passes)

    expected = evaluated(0)
    passes.clear()
    assert evaluated(2) == expected
    assert all(map(torch.equal, passes, [inputs for inputs, _ in [*batches, batches[0], batches[0]]]))
    assert len(passes) == len(batches) + 2
