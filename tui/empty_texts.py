"""What the panes and panels of a run say where they have nothing to show.

An imported run has only metrics and settings: nothing else will come, and no key brings it.
"""

from __future__ import annotations

from torchconsole.engine.text import printable
from torchconsole.tui.state import ConsoleState


def no_classes(state: ConsoleState, evaluate: str) -> str:
    """Say why there is no confusion matrix; `evaluate` is the key that evaluates."""
    evaluation = state.run.last_confusion
    if evaluation is not None:
        return f"Nothing to show: {printable(evaluation.no_tables) or 'the matrix has no class'}."
    if state.is_imported:
        return "Nothing to show: an imported run has metrics, but no predictions."
    if state.is_program:
        return "Nothing to show: a program of yours reports its metrics, but not its predictions."
    if any(name.startswith("val/") for name in state.history):
        return "Nothing to show: the worker of this run sent neither a confusion matrix nor predictions."
    if not state.run.is_live:
        return "Nothing to show: the run ended before its first evaluation."
    return f"Not evaluated yet. `{evaluate}` evaluates now; else the preset says when the first one comes."


def no_evaluation(state: ConsoleState) -> str:
    """Say in a few words why nothing of an evaluation is known."""
    if state.is_imported:
        return "none: an imported run"
    return "no evaluation yet" if state.run.is_live else "no evaluation"


def no_model(state: ConsoleState) -> str:
    """Say why there are no layers."""
    if state.is_imported:
        return "no layers: the model of an imported run is not known"
    return "the model is not built yet" if state.run.is_live else "the model was never built"


def no_measurements(state: ConsoleState) -> str:
    """Say why nothing is measured of the device."""
    if state.is_imported:
        return "no measurements: the device of an imported run is not known"
    return "no measurements: the run has ended" if state.has_ended else "no measurements yet"


def no_changes(state: ConsoleState) -> str:
    """Say that nothing was changed, as far as is known."""
    return "no changes: an imported run has no journal" if state.is_imported else "no changes to this run"


def no_checkpoint(state: ConsoleState) -> str:
    """Say why there is no checkpoint."""
    if state.is_imported:
        return "no checkpoints: an imported run has metrics, but no weights"
    return "no checkpoint yet" if state.run.is_live else "no checkpoints"


def no_results(state: ConsoleState) -> str:
    """Say where results come from."""
    if state.is_imported:
        return "no results: an imported run has only metrics"
    sources = (
        "a program saves pictures and texts with run.image and run.text, and evaluations add the samples "
        "with the highest losses (evaluation.worst)"
    )
    return f"{'nothing yet' if state.run.is_live else 'no results'}: {sources}"


def no_ranks(state: ConsoleState) -> str:
    """Say why nothing is known of the processes of a run."""
    if state.run.processes < 2:
        return "one process trains this run; --nproc starts several"
    if state.run.is_live and state.is_program:
        return "the processes have not been heard from yet: they are measured from the first step on"
    if state.run.is_live:
        return "the processes have not been heard from yet"
    return "nothing to show: the run ended before its processes were measured"
