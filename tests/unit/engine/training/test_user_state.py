"""A resumed run continues with the generators and counters of user code; a warning tells if it cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.sessions import Session, ignore_phase, parts_for, weights
from torchconsole.engine.analysis.findings import find
from torchconsole.engine.analysis.start_check import check_parts
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.protocol.commands import RollBack
from torchconsole.engine.protocol.events import EvaluationCompleted
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training.checkpoint import read_checkpoint
from torchconsole.engine.training.dry_run import DryRun, dry_run
from torchconsole.engine.training.trial import first_batch

CODE = Path(__file__).parents[3].joinpath("support", "own_state_task.py").read_bytes()

SAVED_AT = 3
"""The step of the checkpoint: in the middle of the first of two epochs of 5 steps."""

TASK = (
    "training.epochs=2",
    "data.batch_size=4",
    "data.num_workers=0",
    "metrics=[]",
    "early_stopping=",
    'optimizer={name="SGD", lr=0.1}',
    "loss={}",
    "schedule=[]",
    f"checkpoint={{save_every_steps={SAVED_AT}, keep=-1}}",
)


class Task:
    """Trains what a user file has."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "own.py"
        self.file.write_bytes(CODE)
        trust(self.file)
        self.folder = folder

    def start(self, *overrides: str) -> tuple[Session, DryRun]:
        """Build a session as a new process would, with its dry run."""
        for name in [name for name, module in sys.modules.items() if _file_of(module) == str(self.file)]:
            del sys.modules[name]
        own = [override.replace("own.py", str(self.file)) for override in (*TASK, *overrides)]
        number = len(list(self.folder.iterdir()))
        data = [] if any(each.startswith("data.name") for each in own) else [f"data.name={self.file}:Blobs"]
        model = [] if any(each.startswith("model") for each in own) else [f'model={{name="{self.file}:Net"}}']
        folder = self.folder / f"run{number}"
        folder.mkdir()
        run = Session(folder / "checkpoints", [*own, *data, *model])
        return run, dry_run(run.setup, first_batch(run.setup))


def _file_of(module: object) -> str | None:
    return getattr(module, "__dict__", {}).get("__file__")


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Task(tmp_path)


def results(run: Session) -> tuple[dict[int, float], list[Tensor], object]:
    """The losses by step, the weights at the end, and the last evaluation."""
    return dict(run.event_queue.losses), weights(run), run.state.metrics


def _flush(run: Session) -> None:
    assert run.manager.flush() == ""


def is_exact(task: Task, *overrides: str) -> bool:
    """Whether a run that continues from a checkpoint equals the one that took it, bit for bit."""
    undisturbed, _ = task.start(*overrides)
    # Without this, the checkpoint of a later step may take the place of one that still waits to be written.
    undisturbed.event_queue.on_log = lambda point: _flush(undisturbed)
    undisturbed.trainer.run()
    resumed, _ = task.start(*overrides)
    saved = read_checkpoint(undisturbed.checkpoints / f"step-{SAVED_AT:08}")
    resumed.state.load_state_dict(saved)
    resumed.trainer.run()
    losses, expected_weights, metrics = results(undisturbed)
    resumed_losses, resumed_weights, resumed_metrics = results(resumed)
    expected = {step: loss for step, loss in losses.items() if step > SAVED_AT}
    assert len(expected) > SAVED_AT
    return (
        resumed_losses == expected
        and all(map(torch.equal, resumed_weights, expected_weights))
        and resumed_metrics == metrics
    )


def model(name: str) -> str:
    return f'model={{name="own.py:{name}"}}'


@pytest.mark.parametrize(
    "name",
    [
        *("Drawing", "Adapting", "LazyDrawing", "Slotted", "Bound", "Dropping", "Counting", "PlainCounting"),
        *("SharedDrawing", "GlobalDrawing", "Stranger", "Recurrent", "Listing"),
    ],
)
def test_state_in_the_model(task: Task, name: str) -> None:
    assert is_exact(task, model(name))


@pytest.mark.parametrize(
    "override",
    [
        'loss={name="own.py:CrossEntropy"}',
        'loss={name="own.py:CrossEntropy", also=[{name="own.py:CrossEntropy"}]}',
        'schedule=[{name="own.py:Wobble", interval="step"}]',
        'schedule=[{name="own.py:GlobalWobble", interval="step"}]',
        'optimizer={name="own.py:Noisy", lr=0.1}',
        'metrics=[{name="own.py:Sampled"}]',
        "ema={decay=0.9}",
    ],
)
def test_state_outside_of_the_model(task: Task, override: str) -> None:
    drawing = (model("Dropping"),) if "ema" in override else ()
    assert is_exact(task, override, *drawing)


@pytest.mark.parametrize(
    "override",
    [
        *map(model, ("Drawing", "LazyDrawing", "Counting", "PlainCounting", "GlobalDrawing")),
        *map(model, ("Recurrent", "Listing")),
        'loss={name="own.py:CrossEntropy"}',
        'schedule=[{name="own.py:Wobble", interval="step"}]',
        'optimizer={name="own.py:Noisy", lr=0.1}',
        'metrics=[{name="own.py:Sampled"}]',
    ],
)
def test_state_goes_back_with_a_live_run(task: Task, override: str) -> None:
    """From step 8, in the second epoch, to the checkpoint in the first."""
    run, _ = task.start(override)
    left_at = SAVED_AT + 5

    def act(point: MetricsPoint) -> None:
        _flush(run)
        if point.step == left_at and len(run.event_queue.points) == left_at:
            run.commands.put("back", RollBack(checkpoint=f"step-{SAVED_AT:08}"), "")

    run.event_queue.on_log = act
    run.trainer.run()
    losses = run.event_queue.losses
    assert losses[left_at][0] == SAVED_AT + 1
    assert losses[left_at : left_at + 5] == losses[SAVED_AT:left_at]
    evaluations = [event for event in run.event_queue.of(EvaluationCompleted) if event.step == 5]
    assert len(evaluations) == 2
    assert evaluations[0].metrics == evaluations[1].metrics


@pytest.mark.parametrize(("data", "workers"), [("Jitter", 0), ("Lazy", 0), ("Lazy", 2)])
def test_generators_of_a_data_set_and_a_transform_depend_on_the_sample_only(
    task: Task, data: str, workers: int
) -> None:
    transforms = 'data.transforms.train=[{name="own.py:Noise"}]'
    assert is_exact(task, f'data.name="own.py:{data}"', transforms, f"data.num_workers={workers}")


@pytest.mark.parametrize(
    ("override", "shown"),
    [
        (model("Ticking"), "model.numbers (count)"),
        (model("Streaming"), "model.numbers (generator)"),
        (model("Unseeded"), "model.rng (SystemRandom"),
        (model("Hidden"), "has another loss each time"),
        (model("Unsavable"), "model.counter (Counter: it holds an object of type object)"),
        ('data.name="own.py:Curriculum"', "data.count (int)"),
    ],
)
def test_what_cannot_be_saved_is_told(task: Task, override: str, shown: str) -> None:
    run, seen = task.start(override)
    [finding] = [each for each in find(run.setup, seen) if each.name == "resume-not-exact"]
    assert shown in finding.line
    assert finding.level == "warning"


@pytest.mark.parametrize(
    "name", ["Net", "Caching", "PlainCounting", "Drawing", "LazyDrawing", "GlobalDrawing"]
)
def test_nothing_is_told_of_what_is_saved_or_no_state(task: Task, name: str) -> None:
    run, seen = task.start(model(name))
    assert "resume-not-exact" not in {each.name for each in find(run.setup, seen)}
    assert name == "PlainCounting" or run.setup.changing <= {"model.detached"}


def test_nothing_is_told_of_dropout_that_draws_in_another_order() -> None:
    keys = ["model.name=SimpleCNNv3", "model.channels=[4, 8]"]
    checked = check_parts(parts_for(load_preset("digits-cnn", keys)), ignore_phase)
    assert checked.setup.preset.training.channels_last
    assert "resume-not-exact" not in {each.name for each in find(checked.setup, checked.dry_run)}
