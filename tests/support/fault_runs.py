"""Runs of the fault tests: make, run, kill and resume them, and read their outcome."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.support.runs import make_folder, wait_until
from tests.support.zygote import KILL, Zygote
from torchconsole.engine.config.loading import read_preset, set_key, validate, write_preset
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.recorded_history import read_run
from torchconsole.engine.training.checkpoint import read_checkpoint

SUBJECT = Path(__file__).with_name("subject.py")

PRESET: dict[str, Any] = {
    "title": "A run for the fault tests",
    "data": {
        "name": f"{SUBJECT}:Blobs",
        "batch_size": 8,
        "val_split": 24,
        "transforms": {
            "train": [{"name": "RandomHorizontalFlip"}, {"name": "RandomCrop", "size": 8, "padding": 1}]
        },
    },
    "model": {"name": f"{SUBJECT}:Net"},
    "optimizer": {"name": "AdamW", "lr": 0.01},
    "schedule": [{"name": "OneCycleLR", "max_lr": 0.01}],
    "checkpoint": {"save_every_steps": 2},
    "training": {"epochs": 3, "log_every": 1, "threads": 1, "device": "cpu"},
}
"""Three epochs of six steps."""

STEPS = 18
STEPS_PER_EPOCH = 6


@dataclass(frozen=True)
class Outcome:
    """The results of a run, which must be bit-identical after a resume."""

    losses: list[tuple[int, float]]
    lrs: list[tuple[int, float]]
    evaluations: list[tuple[int, float]]
    weights: str
    """The hash of the final checkpoint's model, optimizer and other state."""


class Runs:
    """Make runs below a folder; the zygote forks their workers."""

    def __init__(self, path: Path, zygote: Zygote) -> None:
        self.path = path
        self.subject = SUBJECT
        self._zygote = zygote
        trust(SUBJECT)

    def make(self, *overrides: str) -> RunFolder:
        """Make a run that has not started."""
        folder = make_folder(self.path, "faults")
        content = _deep_copy(PRESET)
        for override in overrides:
            set_key(content, override)
        write_preset(validate(content, "the fault tests"), folder.preset_file)
        return folder

    def change(self, folder: RunFolder, *overrides: str) -> None:
        """Override keys of the run's preset."""
        content = read_preset(folder.preset_file).model_dump(mode="json", exclude_none=True)
        for override in overrides:
            set_key(content, override)
        write_preset(validate(content, "the fault tests"), folder.preset_file)

    def start(self, folder: RunFolder, *options: str, **how: Any) -> int:
        """Start a run's worker; returns its pid."""
        return self._zygote.start(folder, *options, **how)

    def wait(self) -> int:
        """Wait for the worker that was started last; returns its exit status."""
        return self._zygote.wait()

    def finish(self, folder: RunFolder, **how: Any) -> Outcome:
        """Run a new run to its end."""
        assert self._zygote.run(folder, **how) == 0, folder.log_file.read_text()
        return outcome_of(folder)

    def kill(self, folder: RunFolder, moment: str, script: dict[str, Any] | None = None) -> None:
        """Run a run until it is killed by SIGKILL at `moment`."""
        script = script or {}
        fatal = {**script, moment: [*script.get(moment, []), KILL]}
        assert self._zygote.run(folder, script=fatal) == -9, folder.log_file.read_text()

    def kill_after_saves(self, folder: RunFolder, *steps: int) -> None:
        """Run a run until it is killed by SIGKILL, with a complete checkpoint at each of `steps`."""
        script: dict[str, Any] = {f"log@{step}": [{"type": "SaveCheckpoint"}] for step in steps}
        self.kill(folder, f"CommandApplied@{steps[-1]}", script)

    def fail(self, folder: RunFolder, *options: str, **how: Any) -> str:
        """Run a run that must fail; returns the recorded reason."""
        # A data loader worker of a run that was killed before may still print one as it ends.
        wait_until(lambda: not is_being_written(folder.log_file), "the last process of the run before")
        before = folder.log_file.stat().st_size if folder.log_file.exists() else 0
        assert self._zygote.run(folder, *options, **how) in (1, 2), folder.log_file.read_text()
        wait_until(lambda: not is_being_written(folder.log_file), "the last process of the run")
        assert b"Traceback" not in folder.log_file.read_bytes()[before:]
        return folder.load_record().reason

    def resume(self, folder: RunFolder, script: dict[str, Any] | None = None) -> Outcome:
        """Resume a run and run it to its end."""
        status = self._zygote.run(folder, "--resume", script=script)
        assert status == 0, folder.log_file.read_text()
        return outcome_of(folder)


def is_being_written(log: Path) -> bool:
    """Whether it is the output of a process that is running: a worker, or one of its data loader workers."""
    outputs = Path("/proc").glob("[0-9]*/fd/[12]")
    return log.exists() and any(_is_same(output, log) for output in outputs)


def _is_same(output: Path, log: Path) -> bool:
    try:
        return output.samefile(log)
    except OSError:  # the process has ended or is another user's, or its output is no file
        return False


def outcome_of(folder: RunFolder) -> Outcome:
    """Read the outcome of a finished run from its files."""
    _, history = read_run(folder)
    losses, lrs, evaluations = (
        list(zip(history[name].steps.tolist(), history[name].values.tolist(), strict=True))
        for name in ("train/loss", "lr", "val/loss")
    )
    state = read_checkpoint(folder.checkpoints / "last")
    digest = hashlib.sha256()
    for part in ("model", "optimizer", "ema", "scaler", "learning_rate", "early_stopping", "random"):
        _hash(state[part], digest)
    return Outcome(losses, lrs, evaluations, digest.hexdigest())


def _hash(value: Any, digest: hashlib._Hash) -> None:
    if isinstance(value, torch.Tensor):
        digest.update(str(value.dtype).encode() + value.contiguous().numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            digest.update(str(key).encode())
            _hash(value[key], digest)
    elif isinstance(value, list | tuple):
        for item in value:
            _hash(item, digest)
    else:
        digest.update(repr(value).encode())


def _deep_copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _deep_copy(item) for key, item in value.items()}
    return [*map(_deep_copy, value)] if isinstance(value, list) else value
