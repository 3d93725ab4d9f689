"""What cannot be done with a run of a program of the user's own, and what to do instead."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Literal

from torchconsole.engine.config.script import Script, read_script
from torchconsole.engine.errors import CheckpointError, PresetError, RunError
from torchconsole.engine.run.checkpoints import newest, read_manifest, resume_line
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.imported import imported_from, refuse_imported
from torchconsole.engine.run.names import LAST, STATE_FILE
from torchconsole.engine.run.own_programs import own_program

KEEPING = """\
import torchconsole
with torchconsole.run() as run:
    run.keep(model=model, optimizer=optimizer)
    for epoch in run.epochs(10):
        for batch in run.steps(loader):"""
"""The lines that make a program resumable."""


def script_of(folder: RunFolder) -> Script | None:
    """Return the program of a run; None if the run has a preset, or one that cannot be read."""
    try:
        return read_script(folder.preset_file)
    except PresetError:
        return None  # reported by whoever reads the preset


Verb = Literal[
    "resume",
    "evaluate",
    "predict with",
    "compute features of",
    "export",
    "extend",
    "take the weights of",
    "find an lr for",
    "find a batch size for",
    "find data loader workers for",
    "profile",
    "describe the values of",
    "summarize",
    "draw the model of",
]
"""What is refused."""


def refuse_script(folder: RunFolder, verb: Verb) -> None:
    """Raise RunError if the run is one of a program of the user's own, which only that program knows.

    A program that calls `torchconsole.run` can be resumed.
    """
    refuse_imported(folder, verb)
    script = script_of(folder)
    if script is None:
        return
    if verb == "resume" and own_program(folder) is not None:
        _require_program(folder, script)
        return
    if verb == "resume" and (framework := _framework(folder)):
        made_by, line = framework
        raise RunError(
            f"{folder.name}: its newest checkpoint is one of {made_by}, from which only its program "
            f"({script.title}) can resume: {line}"
        )
    if verb == "resume":
        raise RunError(
            f"{folder.name}: cannot be resumed, because its program ({script.title}) does not say what its "
            f"state is; to run it again: {_command(script)}; to make it resumable, add these lines to it:",
            *KEEPING.splitlines(),
        )
    if verb == "evaluate":
        raise RunError(
            f"{folder.name}: only its program ({script.title}) can evaluate it; while it is live, the key e "
            f"and `torchconsole send {folder.name} eval` call the function that the program names with "
            "`run.on_evaluate(function)`, in `with torchconsole.run() as run:`"
        )
    if framework := _framework(folder):
        raise RunError(
            f"{folder.name}: torchconsole cannot {verb} a program of yours ({script.title}); its newest "
            f"checkpoint is one of {framework[0]}: {framework[1]}"
        )
    state = folder.checkpoints / LAST / STATE_FILE
    holds = "it has no checkpoint"
    if state.exists():
        holds = "its checkpoints hold the state dicts of models and optimizers: "
        holds += f"torch.load({str(state)!r}, weights_only=True)"
    instead = f"; to run it again: {_command(script)}" if verb == "extend" else ""
    if verb == "take the weights of" and state.exists():
        instead = "; save one of them with torch.save, and give that file to --from"
    raise RunError(
        f"{folder.name}: torchconsole cannot {verb} a program of yours ({script.title}), whose data and "
        f"model only that program knows; {holds}{instead}"
    )


def _require_program(folder: RunFolder, script: Script) -> None:
    """Raise RunError if what the run's command needs is gone, or was never a file."""
    for path in filter(None, (script.folder, script.file)):
        if not Path(path).exists():
            raise RunError(
                f"{folder.name}: cannot be resumed: its program was {script.title} in {script.folder}, and "
                f"{path} does not exist (what is typed into Python or a notebook is no file); put it there"
            )


def resume_advice(folder: RunFolder) -> str:
    """Return what takes the place of a resume by torchconsole; empty if it can resume the run."""
    if source := imported_from(folder):
        return f"it cannot be resumed: it was imported from {source}"
    script = script_of(folder)
    if script is None or own_program(folder) is not None:
        return ""
    framework = _framework(folder)
    if framework is None:
        return (
            "it cannot be resumed: its program does not say what its state is; to run it again: "
            f"{_command(script)}"
        )
    return f"its program can resume from the newest checkpoint: {framework[1]}"


def _framework(folder: RunFolder) -> tuple[str, str] | None:
    """Return which library has written the newest checkpoint, and the line of code that resumes from it."""
    with suppress(CheckpointError, OSError):
        checkpoint = newest(folder)
        manifest = read_manifest(checkpoint)
        if manifest.made_by:
            return manifest.made_by, resume_line(checkpoint, manifest)
    return None


def _command(script: Script) -> str:
    """Return the command that runs the program as before."""
    program = ["-m", script.module] if script.module else [script.file]
    options = [f"--env={name}={value}" for name, value in script.env.items() if name != "PYTHONPATH"]
    if script.processes > 1:
        options.append(f"--nproc={script.processes}")
    return shlex.join(["torchconsole", "run", *options, f"--cwd={script.folder}", *program, *script.args])
