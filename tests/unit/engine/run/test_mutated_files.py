"""Whatever is in the files of a run, reading them gives a state that can be shown, or one error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.hostile import HOSTILE, replace_by
from tests.support.mutations import mutated_bytes, mutated_json, mutated_lines
from tests.support.runs import make_folder, point, running
from torchconsole.engine.client.client import event_stream
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.errors import PresetError, RunError
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
from torchconsole.tui.run_listing import ORDERS, menu_lines, ordered
from torchconsole.tui.state import ConsoleState

EXAMPLES = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

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


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A lost run with every file that a run may have."""
    best = {"metric": "val/loss", "value": 0.5, "step": 2}
    figures = {"seq": 2, "step": 2, "epoch": 1, "lr": 0.1, "best": best, "details": DETAILS}
    folder = make_folder(tmp_path / "runs", **running(**figures))
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


def use(folder: RunFolder) -> None:
    """Do with a run what the commands and the console do."""
    (row,) = list_runs(folder.path.parent)
    for order in ORDERS:
        menu_lines(ordered([row], order), 1e9)
    json.dumps(row.to_json(), allow_nan=False)
    try:
        snapshot = read_snapshot(folder)
    except RunError as error:
        check_message(str(error))
    else:
        Snapshot.model_validate_json(encode(snapshot))
        state = ConsoleState(snapshot.state)
        state.attach(snapshot, snapshot.state.is_live)
        assert state.eta_seconds is None or state.eta_seconds >= 0
        assert isinstance(state.divergence, str)
        assert state.lr_after() is not None
        spent_by(folder.load_record(), folder)
        asyncio.run(print_events(folder))
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


def test_a_run_with_every_file_can_be_used(folder: RunFolder) -> None:
    assert {str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file()} >= {
        file for file in FILES if file != "worker.lock"
    }
    use(folder)
    assert read_snapshot(folder).state.last_confusion is not None


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_hides_nothing_else(name: str, folder: RunFolder) -> None:
    for file in FILES:
        path = folder.path / file
        kept = path.read_bytes() if path.exists() else None
        replace_by(name, path)
        use(folder)
        if path.is_dir() and not path.is_symlink():
            (path / "below").rmdir()
            path.rmdir()
        else:
            path.unlink()
        if kept is not None:
            path.write_bytes(kept)


@EXAMPLES
@given(st.data())
@pytest.mark.parametrize("file", [*LINES_AND_TEXTS, *JSON_FILES])
def test_changed_bytes_do_no_harm(file: str, folder: RunFolder, data: st.DataObject) -> None:
    path = folder.path / file
    kept = path.read_bytes()
    path.write_bytes(data.draw(mutated_bytes(kept)))
    use(folder)
    path.write_bytes(kept)


@EXAMPLES
@given(st.data())
@pytest.mark.parametrize("file", JSON_FILES)
def test_changed_values_do_no_harm(file: str, folder: RunFolder, data: st.DataObject) -> None:
    path = folder.path / file
    kept = path.read_bytes()
    path.write_bytes(data.draw(mutated_json(json.loads(kept))))
    use(folder)
    path.write_bytes(kept)


@EXAMPLES
@given(mutated_lines(content_of(metrics_lines())), mutated_lines(content_of(iter([journal_line(APPLIED)]))))
def test_changed_values_in_lines_do_no_harm(folder: RunFolder, metrics: bytes, journal: bytes) -> None:
    folder.history_file.unlink(missing_ok=True)
    folder.metrics_file.write_bytes(metrics)
    folder.journal_file.write_bytes(journal)
    use(folder)


@EXAMPLES
@given(mutated_bytes((Path(__file__).parents[4] / "presets" / "digits-mlp.toml").read_bytes()))
def test_a_changed_preset_is_read_or_refused(folder: RunFolder, content: bytes) -> None:
    folder.preset_file.write_bytes(content)
    try:
        read_preset(folder.preset_file)
    except PresetError as error:
        for line in str(error).splitlines():
            check_message(line)
    use(folder)


def test_a_valid_line_is_read_between_any_others(folder: RunFolder) -> None:
    folder.history_file.unlink()
    good = [train_line(point(step), step) for step in (10, 11)]
    bad = [
        b'{"seq":"x"}',
        b"7",
        b'{"seq":9,"kind":["train"]}',
        b'{"seq":9,"kind":"train","step":1}',
        b'{"seq":10,"kind":"evaluation","step":-1}',
        b"[" * 10_000,
        b"\xff",
        b"x" * (5 << 20),
        b"",
    ]
    folder.metrics_file.write_bytes(b"\n".join([*bad, good[0], *bad, good[1], *bad]) + b"\n")
    history = read_snapshot(folder).history
    assert history["train/loss"].steps == [10, 11]


def test_a_checkpoint_with_a_forged_manifest_is_damaged(folder: RunFolder) -> None:
    wrong_files = ({}, {"bytes": "x", "sha256": 1}, {"bytes": -1, "sha256": "x"}, None)
    wrong = [{"files": {"state.pt": each}} for each in wrong_files]
    wrong += [{"step": 10**30}, {"metrics": {"a": "x"}}, {"created": 1e300}, {"best_step": -1}]
    for each in wrong:
        (folder.path / MANIFEST_PATH).write_text(json.dumps({**MANIFEST, **each}))
        (info,) = describe_checkpoints(folder)
        assert info.problem == "manifest.json is damaged"
