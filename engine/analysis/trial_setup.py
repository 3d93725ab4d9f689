"""Builds a training to try something with, of a preset or of a run's checkpoint; no run's files change."""

from __future__ import annotations

from pathlib import Path

from torchconsole.engine.analysis.check_report import print_phase
from torchconsole.engine.analysis.checkpoint_reports import read_current
from torchconsole.engine.components.devices import choose_device
from torchconsole.engine.components.models.weights import weights_of
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.training.checkpoint import data_record_in
from torchconsole.engine.training.parts import build_parts
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.setup import TrainingSetup, build_setup
from torchconsole.engine.training.train_state import load_weights


def build_trial(preset: Preset, checkpoint: Path | None) -> tuple[TrainingSetup, Progress, list[str]]:
    """Return what `preset` names, with the weights of `checkpoint` if given, and how far that has come.

    The names are those of the parameters that commands have frozen in its run; `enter_train_mode` takes them.

    Raises ComponentError and DataError, which name the key to change, TrustError, and CheckpointError for a
    checkpoint that cannot be used.
    """
    state = read_current(checkpoint)[1] if checkpoint else None
    parts = build_parts(
        preset,
        choose_device(preset.training.device),
        print_phase,
        from_checkpoint=state is not None,
        record=data_record_in(state) if state else None,
    )
    setup = build_setup(parts, print_phase)
    progress, frozen = Progress(), []
    if state is not None:
        load_weights(setup.model, weights_of(state, averaged=False))
        progress.load_state_dict(state["progress"])
        frozen = state.get("frozen", [])  # checkpoints of the first versions have none
    return setup, progress, frozen
