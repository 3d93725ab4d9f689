"""What a name on the command line means: a preset, a run, or a run's checkpoint.

A preset's name means the preset where a command takes PRESET|RUN, and the newest run of it where a command
takes RUN. If it could be both, a line on stderr says which one is used.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from torchconsole.engine.errors import PresetError, RunError, TorchconsoleError
from torchconsole.engine.text import printable
from torchconsole.tui.cli.presets import load_checked_preset, require_trust

if TYPE_CHECKING:
    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.run.checkpoints import Target
    from torchconsole.engine.run.folder import RunFolder
    from torchconsole.engine.run.registry import ByPreset
    from torchconsole.engine.run.script_runs import Verb


def find_run(
    name: str | None, runs_dir: Path | None, *, live: bool = False, by_preset: ByPreset = "newest"
) -> RunFolder:
    """Find a run as the registry's `find_run` does. Raises RunError."""
    from torchconsole.engine.run import registry

    run = registry.find_run(name, runs_dir, live=live, by_preset=by_preset)
    if name is not None:
        _tell_run(name, run)
    return run


def find_runs(names: Sequence[str], runs_dir: Path | None) -> list[RunFolder]:
    """Find runs, each once, in the order in which they are named. Raises RunError."""
    return list(dict.fromkeys(find_run(name, runs_dir) for name in names))


def find_target(name: str, runs_dir: Path | None, doing: Verb) -> Target:
    """Find a run or a checkpoint. `doing` is what is refused for the run of a program.

    Raises RunError and CheckpointError.
    """
    from torchconsole.engine.run import checkpoints

    return _accept(checkpoints.find_target(name, runs_dir), name, runs_dir, doing)


def _accept(target: Target, name: str, runs_dir: Path | None, doing: Verb) -> Target:
    """Return what a name means, and say which run it is. Raises RunError for a run that is refused."""
    from torchconsole.engine.run.script_runs import refuse_script

    if target.run is not None:
        refuse_script(target.run, doing)
        is_run = name == target.run.name
        stem = name if is_run else re.split("@|/checkpoints/", name, maxsplit=1)[0]
        _tell_run(stem, target.run, runs_dir, saved=True)
    return target


def find_checkpoint(name: str, runs_dir: Path | None, doing: Verb, default: str, *, is_trusted: bool) -> Path:
    """Return the folder of a checkpoint whose model is to be built; of a run, its `default`: best or last.

    Raises RunError and CheckpointError, and TrustError if the user does not trust the run's Python files.
    """
    target = find_target(name, runs_dir, doing)
    checkpoint = target.pick(default)
    require_run_trust(target, is_trusted=is_trusted)
    return checkpoint


def require_run_trust(target: Target, *, is_trusted: bool) -> None:
    """Make sure that the user trusts the Python files of a checkpoint's run. Raises TrustError."""
    from torchconsole.engine.config.loading import read_preset

    if target.run is not None:
        require_trust(read_preset(target.run.preset_file), is_trusted)


def find_preset_or_run(name: str, runs_dir: Path | None, doing: Verb) -> Target | None:
    """Return None if a name means a preset, else the run or the checkpoint. `doing` as for `find_target`.

    Raises TorchconsoleError.
    """
    from torchconsole.engine.config.preset_files import find_file
    from torchconsole.engine.run import checkpoints, registry

    try:
        find_file(name)
    except PresetError as no_preset:
        try:
            target = checkpoints.find_target(name, runs_dir)
        except RunError as no_run:
            raise TorchconsoleError(str(no_preset), str(no_run)) from no_run
    else:
        with suppress(RunError):
            if registry.find_run(name, runs_dir).name == name:
                _tell(f"{name} is a preset and a run: using the preset")
        return None
    return _accept(target, name, runs_dir, doing)


def load_settings(
    name: str, overrides: Sequence[str] | None, runs_dir: Path | None, doing: Verb
) -> tuple[Preset, RunFolder | None]:
    """Return a preset; or the settings of a run as those of a new one, and the run.

    Raises TorchconsoleError.
    """
    target = find_preset_or_run(name, runs_dir, doing)
    run = None if target is None else _run_of(target, name)
    return load_checked_preset(name if run is None else str(run.preset_file), overrides), run


def load_start(
    name: str, overrides: list[str] | None, runs_dir: Path | None, doing: Verb
) -> tuple[Preset, RunFolder | None, Path | None]:
    """Return a preset; or that of a run as it continues, the run, and its checkpoint.

    Raises TorchconsoleError.
    """
    from torchconsole.engine.client.catalogue_cache import load_catalogue
    from torchconsole.engine.config.loading import read_preset
    from torchconsole.engine.config.resume_policy import change_preset
    from torchconsole.engine.run.checkpoints import newest, newest_intact, verified

    target = find_preset_or_run(name, runs_dir, doing)
    if target is None:
        return load_checked_preset(name, overrides), None, None
    run = _run_of(target, name)
    checkpoint = verified(target.checkpoint) if target.checkpoint else newest_intact(run)
    preset = read_preset(run.preset_file)
    changed = change_preset(preset, overrides, load_catalogue()) if overrides else preset
    return changed, run, checkpoint or newest(run)


def _run_of(target: Target, name: str) -> RunFolder:
    """Return the run. Raises RunError for a checkpoint outside any run's folder."""
    if target.run is None:
        raise RunError(f"{name}: is not in a run's folder, so its preset is unknown; name a preset or a run")
    return target.run


def _tell_run(name: str, run: RunFolder, runs_dir: Path | None = None, *, saved: bool = False) -> None:
    """Say which run a name means that is a preset's, too; and, if it is the newest `saved` one, why."""
    from torchconsole.engine.config.preset_files import preset_files
    from torchconsole.engine.run.registry import find_run

    if name == run.name:
        if any(file.stem == name for file in preset_files()):
            _tell(f"{name} is a preset and a run: using the run")
        return
    with suppress(RunError):  # a run that cannot be read, which is reported by whoever reads it
        if run.read_record().preset == name:
            newest = find_run(name, runs_dir) if saved else run
            why = "" if newest == run else f"; {newest.name} is newer, but has no checkpoint"
            _tell(f"{name} is a preset: using its run {run.name}{why}")


def _tell(text: str) -> None:
    print(printable(f"torchconsole: {text}"), file=sys.stderr, flush=True)
