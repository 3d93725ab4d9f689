"""Whatever is in the files of a run, reading them gives a state that can be shown, or one error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.foreign_runs import (
    APPLIED,
    FILES,
    JSON_FILES,
    LINES_AND_TEXTS,
    MANIFEST,
    MANIFEST_PATH,
    check_message,
    content_of,
    metrics_lines,
    run_with_every_file,
    use,
)
from tests.support.hostile import HOSTILE, replace_by
from tests.support.mutations import mutated_bytes, mutated_json, mutated_lines
from tests.support.runs import point
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.errors import PresetError
from torchconsole.engine.run.checkpoints import describe_checkpoints
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.line_formats import journal_line, train_line
from torchconsole.engine.run.recorded_history import read_snapshot

EXAMPLES = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return run_with_every_file(tmp_path / "runs")


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
