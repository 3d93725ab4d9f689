"""Makes a run's folder of what another tool has recorded."""

from __future__ import annotations

import math
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import write_atomically
from torchconsole.engine.protocol.events import EvaluationCompleted
from torchconsole.engine.protocol.info import Best
from torchconsole.engine.protocol.points import MetricsPoint, flag_nonfinite
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.imported import PRESET, SECTION
from torchconsole.engine.run.imports.recording import EVALUATED, Recording
from torchconsole.engine.run.line_formats import event_line, train_line
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.recorded_history import read_run
from torchconsole.engine.run.registry import register
from torchconsole.engine.run.state_record import record_with
from torchconsole.engine.text import printable, printable_lines

DEEPEST = 20
"""Levels of settings in settings; what is below becomes "..."."""

LAST_TIME = 253402300799.0

BEST = {"val/loss": min, "val/accuracy": max}
"""Metrics by which the best evaluation is found, the first that was recorded."""


def write_recording(recording: Recording, runs_dir: Path, name: str = "") -> RunFolder:
    """Write a run that has finished, and register it; nothing is left of it on failure. Raises RunError."""
    folder = RunFolder.create(runs_dir, name or recording.name)
    try:
        _fill(folder, recording)
        register(folder)
    except BaseException as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        if isinstance(error, OSError):
            raise RunError(f"{folder.path}: cannot be written: {error.strerror}") from error
        raise
    return folder


def _fill(folder: RunFolder, recording: Recording) -> None:
    """Write the files of the run. Raises OSError."""
    write_atomically(folder.preset_file, _preset(recording).encode())
    write_atomically(folder.metrics_file, b"".join(line + b"\n" for line in _lines(recording)))
    record = RunRecord(
        name=folder.name,
        folder=str(folder.path),
        preset=PRESET,
        title=recording.name,
        status="finished",
        reason=f"imported from {recording.source} ({recording.format})",
        host=socket.gethostname(),
        created=_begin(recording),
        updated=time.time(),
    )
    folder.write_record(record)
    state, _ = read_run(folder)
    state.best = _best(recording)
    state.step = state.total_steps = max(recording.steps)  # an evaluation alone does not advance it
    state.total_epochs = state.epoch or None
    if all(step.epoch == number for number, step in recording.steps.items()):
        state.steps_per_epoch = 1  # so that charts can count the epochs of other runs
    folder.write_record(replace(record_with(record, state), updated=record.updated))


def _preset(recording: Recording) -> str:
    """Return the preset: where the run is from, and its settings."""
    import tomlkit  # not needed to list presets

    origin = {"from": recording.source, "format": recording.format}
    content = {"title": recording.name, SECTION: origin, "settings": _plain(recording.settings)}
    return tomlkit.dumps(content)


def _plain(value: Any, depth: int = 0) -> Any:
    """Return settings as TOML can hold them, without what is not set and what is nested too deeply."""
    if isinstance(value, dict | list) and depth > DEEPEST:
        return "..."
    if isinstance(value, dict):
        return {
            printable(str(key)): _plain(item, depth + 1) for key, item in value.items() if item is not None
        }
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value if item is not None]
    is_large = type(value) is int and not -(2**63) <= value < 2**63
    plain = str(value) if is_large or not isinstance(value, bool | int | float | str) else value
    return printable_lines(plain) if isinstance(plain, str) else plain


def _begin(recording: Recording) -> float:
    times = [step.time for step in recording.steps.values() if step.time is not None]
    return min(min(times, default=time.time()), LAST_TIME)


def _lines(recording: Recording) -> Iterator[bytes]:
    """Yield the lines of metrics.jsonl: for each step what was trained, then what was evaluated."""
    begin = now = _begin(recording)
    epoch = seq = 0
    for number in sorted(recording.steps):
        step = recording.steps[number]
        now = min(max(now, step.time or now), LAST_TIME)
        epoch = max(epoch, step.epoch or 0)
        evaluated = {name: value for name, value in step.metrics.items() if name.startswith(EVALUATED)}
        trained = {name: value for name, value in step.metrics.items() if name not in evaluated}
        if trained:
            seq += 1
            yield train_line(MetricsPoint(number, epoch, now, now - begin, trained), seq)
        if evaluated:
            seq += 1
            metrics, nonfinite = flag_nonfinite(evaluated)
            event = EvaluationCompleted(
                seq=seq, time=now, step=number, epoch=epoch, metrics=metrics, nonfinite=nonfinite, seconds=0.0
            )
            yield event_line(event) or b""


def _best(recording: Recording) -> Best | None:
    for name, choose in BEST.items():
        found = {
            step: each.metrics[name]
            for step, each in recording.steps.items()
            if math.isfinite(each.metrics.get(name, math.nan))
        }
        if found:
            step = choose(sorted(found), key=lambda step: found[step])
            return Best(metric=name, value=found[step], step=step)
    return None
