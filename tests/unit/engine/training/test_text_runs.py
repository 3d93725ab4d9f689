"""A run on texts learns, is resumed to the bit, and is evaluated with the vocabulary that it recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.data_files import write_texts
from tests.support.sessions import MakeSession, Session
from torchconsole.engine.analysis.checkpoint_reports import evaluate_checkpoint
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol.events import EvaluationCompleted
from torchconsole.engine.run.names import LAST
from torchconsole.engine.training.resume import resume_training

SMALL = ("model.embedding_dim=8", "model.hidden_size=8", "training.epochs=8", "optimizer.lr=0.03")


@pytest.fixture
def reviews(tmp_path: Path) -> str:
    """Sixty texts whose class depends on one word, in a preset of its own."""
    texts = {
        name: [f"{'well ' * (number % 5)}a {word} film, number {number}" for number in range(30)]
        for name, word in (("good", "fine"), ("bad", "dull"))
    }
    write_texts(tmp_path / "texts", texts)
    root = f"data.root={tmp_path / 'texts'}"
    file = tmp_path / "reviews.toml"
    write_preset(load_preset("text-classification", [root, "data.batch_size=8", *SMALL]), file)
    return str(file)


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_a_resume_nobody_can_tell_and_the_same_evaluation_although_the_texts_have_changed(
    session: MakeSession, reviews: str, tmp_path: Path, cell: str
) -> None:
    whole = session(f"model.cell={cell}", preset=reviews, checkpoints=tmp_path / "whole")
    whole.trainer.run()
    first = session(f"model.cell={cell}", preset=reviews)
    stop_at(first, 9)
    first.trainer.run()
    recorded = tmp_path / "recorded.toml"
    write_preset(first.setup.preset, recorded)
    assert "vocabulary" in first.setup.preset.data.arguments
    second = session(preset=str(recorded))
    resume_training(second.setup, second.state, second.checkpoints, second.event_queue)
    second.trainer.run()
    assert first.event_queue.losses + second.event_queue.losses == whole.event_queue.losses
    metrics = second.event_queue.of(EvaluationCompleted)[-1].metrics
    assert metrics["val/accuracy"] == 1.0
    (tmp_path / "texts" / "good" / "000.txt").write_text("none of these words were there before " * 9)
    report = evaluate_checkpoint(second.checkpoints / LAST, "val", "auto", "cpu")
    assert report.metrics["val/loss"] == pytest.approx(metrics["val/loss"], rel=0.2)


def stop_at(run: Session, step: int) -> None:
    """Stop the run at this step."""

    def stop(point: object) -> None:
        if getattr(point, "step", None) == step:
            run.commands.put("stop", cmd.StopRun(), "tester@tty")

    run.event_queue.on_log = stop
