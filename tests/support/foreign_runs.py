"""A run with every file that a run may have, and what the commands and the console do with such files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.drawn_runs import draw_runs
from tests.support.runs import make_folder, point, running
from torchconsole.engine.client.client import event_stream
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import SetLearningRate
from torchconsole.engine.protocol.info import ConfusionMatrix
from torchconsole.engine.protocol.messages import Snapshot, encode
from torchconsole.engine.run.checkpoints import describe_checkpoints
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.line_formats import event_line, journal_line, train_line
from torchconsole.engine.run.names import MANIFEST_FILE
from torchconsole.engine.run.recorded_history import read_snapshot, write_history
from torchconsole.engine.run.registry import list_runs
from torchconsole.engine.run.resume_checks import spent_by
from torchconsole.tui.cli.events import format_event
from torchconsole.tui.run_listing import ORDERS, ordered
from torchconsole.tui.state import ConsoleState

EVENTS = (
    ev.EvaluationCompleted(step=2, epoch=1, seq=3, metrics={"val/loss": 0.5, "val/nan": None}, seconds=1.0),
    ev.EpochCompleted(step=2, epoch=1, seq=4, metrics={"train/loss": 0.5}, seconds=2.0),
    ev.RunResumed(step=2, epoch=1, seq=5, checkpoint="step-00000002"),
)
LR_CHANGED = {"lr": 0.05, "scale": 0.5, "held": None}
APPLIED = ev.CommandApplied(id="1", seq=6, step=2, command=SetLearningRate(factor=0.5), result=LR_CHANGED)
MATRIX = ConfusionMatrix(classes=["a", "b"], counts=[[1, 2], [3, 4]])
CONFUSION = ev.EvaluationCompleted(step=2, epoch=1, metrics={}, seconds=1.0, confusion=MATRIX)
MANIFEST: dict[str, Any] = {
    "step": 2,
    "epoch": 1,
    "revision": 0,
    "kept": False,
    "metrics": {"val/loss": 0.5},
    "format_version": 2,
    "created": 1.0,
    "torch": "2",
    "best_step": 2,
    "files": {"state.pt": {"bytes": 1, "sha256": "x"}},
}
DETAILS = {
    "early_stopping": {"monitor": "val/loss", "mode": "min", "patience": 3, "min_delta": 0.0, "counter": 1},
    "active_seconds": 1.5,
    "metrics": {"lr": 0.1},
    "lr_scale": 1.0,
    "ended": None,
}


def run_with_every_file(runs_dir: Path) -> RunFolder:
    """Make a lost run with every file that a run may have."""
    best = {"metric": "val/loss", "value": 0.5, "step": 2}
    figures = {"seq": 2, "step": 2, "epoch": 1, "lr": 0.1, "best": best, "details": DETAILS}
    folder = make_folder(runs_dir, **running(**figures))
    folder.metrics_file.write_bytes(b"".join(line + b"\n" for line in metrics_lines()))
    folder.journal_file.write_bytes(journal_line(APPLIED) + b"\n")
    folder.confusion_file.write_bytes(CONFUSION.model_dump_json().encode())
    write_history(folder, read_snapshot(folder))
    folder.log_file.write_text("2026-11-29T07:51:01Z\tINFO\tbegins\nTraceback\n")
    checkpoint = folder.checkpoints / "step-00000002"
    checkpoint.mkdir()
    (checkpoint / MANIFEST_FILE).write_text(json.dumps(MANIFEST))
    (checkpoint / "state.pt").write_bytes(b"x")
    return folder


def metrics_lines() -> Iterator[bytes]:
    yield train_line(point(1), 1)
    yield train_line(point(2, loss=float("nan")), 2)
    yield from filter(None, map(event_line, EVENTS))


def content_of(lines: Iterator[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def use(folder: RunFolder) -> bool:
    """Do with a run what the commands and the console do. Returns whether its state could be read."""
    rows = list_runs(folder.path.parent)
    assert len(rows) == len(list(folder.path.parent.iterdir()))
    for order in ORDERS:
        draw_runs(ordered(rows, order))
    json.dumps([row.to_json() for row in rows], allow_nan=False)
    try:
        snapshot = read_snapshot(folder)
    except RunError as error:
        check_message(str(error))
        return False
    else:
        Snapshot.model_validate_json(encode(snapshot))
        state = ConsoleState(snapshot.state)
        state.attach(snapshot, snapshot.state.is_live)
        assert state.eta_seconds is None or state.eta_seconds >= 0
        assert isinstance(state.divergence, str)
        assert state.lr_after() is not None
        spent_by(folder.load_record(), folder)
        asyncio.run(print_events(folder))
        return True
    finally:
        describe_checkpoints(folder)


def check_message(text: str) -> None:
    assert text.isprintable()
    assert len(text) < 2000


async def print_events(folder: RunFolder) -> None:
    async for event in event_stream(folder, follow=False):
        assert format_event(event).isprintable()
        event.model_dump_json()


MANIFEST_PATH = f"checkpoints/step-00000002/{MANIFEST_FILE}"
LINES_AND_TEXTS = ("metrics.jsonl", "journal.jsonl", "preset.toml", "worker.log")
JSON_FILES = ("run.json", "history.json", "confusion.json", MANIFEST_PATH)
FILES = (*LINES_AND_TEXTS, *JSON_FILES, "worker.lock", "checkpoints/step-00000002/state.pt")
