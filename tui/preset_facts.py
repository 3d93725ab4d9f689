"""What the menu's preview says about a preset besides its description, read from its file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchconsole.engine.config.preset_files import read_inherited
from torchconsole.engine.errors import PresetError, TorchconsoleError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import counted
from torchconsole.tui.formatting import format_lr

if TYPE_CHECKING:
    from torchconsole.engine.config.preset_index import PresetEntry
    from torchconsole.engine.protocol.series import Series
    from torchconsole.engine.run.record import RunRecord

MOST_ARGUMENTS = 4
MOST_LR = 1e9
_DEFAULTS = ("data.batch_size", "training.epochs", "optimizer.name", "optimizer.lr", "loss.name")


@dataclass(frozen=True)
class PresetFacts:
    """Name of a fact -> its text, and the lr of the newest run of the preset, or the one that is planned."""

    name: str
    texts: Mapping[str, str]
    lr: Series | None = None
    is_planned: bool = False
    """Whether `lr` is what the schedule gives, and not that of a run."""

    @property
    def lacks_lr(self) -> bool:
        """Whether the lr has a course that is worth showing, and is not known."""
        return self.lr is None and "schedule" in self.texts


def read_facts(preset: PresetEntry, runs: Sequence[RunRecord]) -> PresetFacts:
    """Read the facts about a preset. `runs` are those of the preset, the newest first. Never raises."""
    texts: dict[str, str] = {}
    try:
        content = read_inherited(preset.path)
    except PresetError:
        return PresetFacts(preset.name, texts)
    if "script" in content:
        return PresetFacts(preset.name, _program(content["script"]), _lr(runs))
    known = {key: _value(content, key) for key in _DEFAULTS}
    texts["model"] = _component(content.get("model"))
    lr = known["optimizer.lr"]
    train = [
        f"{known['training.epochs']} epoch{'s' * (known['training.epochs'] != 1)}",
        f"batch {known['data.batch_size']}" if known["data.batch_size"] else "",
        str(known["optimizer.name"] or ""),
        f"lr {format_lr(lr)}" if isinstance(lr, int | float) and abs(lr) < MOST_LR else "",
    ]
    texts["train"] = ", ".join(text for text in train if text)
    schedule = content.get("schedule")
    if isinstance(schedule, list) and schedule:
        names = [part.get("name") for part in schedule if isinstance(part, dict)]
        texts["schedule"] = ", then ".join(name for name in names if isinstance(name, str))
    texts["loss"] = str(known["loss.name"] or "")
    return PresetFacts(preset.name, {name: text for name, text in texts.items() if text}, _lr(runs))


def _program(section: object) -> dict[str, str]:
    """Return what is known of a program without running it."""
    if not isinstance(section, dict):
        return {}
    from torchconsole.tui.widgets.preset_preview import short_path

    args, file = section.get("args"), section.get("file")
    words = shlex.join(map(str, args)) if isinstance(args, list) else ""
    program = short_path(Path(file)) if isinstance(file, str) and file else f"-m {section.get('module')}"
    texts = {"program": program, "args": words, "folder": str(section.get("folder") or "")}
    return {name: text for name, text in texts.items() if text}


def _value(content: Mapping[str, Any], key: str) -> Any:
    """Return what a preset sets, else the default."""
    from torchconsole.engine.config.preset_keys import default_of

    section, _, name = key.partition(".")
    table = content.get(section)
    if isinstance(table, dict) and name in table:
        return table[name]
    return default_of(key, dict(content))


def _component(section: object) -> str:
    """Return the name of a component and its first arguments."""
    if not isinstance(section, dict):
        return ""
    name = section.get("name", "Sequential" if section.get("layers") else "")
    layers = section.get("layers")
    texts = [f"{key} {value}" for key, value in section.items() if _is_argument(key, value)]
    if isinstance(layers, list) and layers:
        texts.insert(0, counted(len(layers), "layer"))
    return ", ".join([str(name).rpartition("/")[2], *texts[:MOST_ARGUMENTS]])


def _is_argument(key: str, value: object) -> bool:
    if key in ("name", "layers", "strict"):
        return False
    if isinstance(value, list):
        return len(value) <= MOST_ARGUMENTS and all(isinstance(item, int | float) for item in value)
    return isinstance(value, int | float | str) and len(str(value)) < 40


def _lr(runs: Sequence[RunRecord]) -> Series | None:
    """Return the lr of the newest run that has logged one."""
    from torchconsole.engine.run.recorded_history import read_run_patiently

    for run in runs[:3]:
        try:
            _, history = read_run_patiently(RunFolder(Path(run.folder)))
        except (TorchconsoleError, OSError):
            continue
        if "lr" in history and len(history["lr"]) > 1:
            return history["lr"]
    return None
