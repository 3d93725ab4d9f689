"""The dialog in which a setting of a live run is found, with its present value, and changed."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from textual.binding import Binding

from torchconsole.engine.config.live_policy import change_live, live_keys, shown_value, value_at
from torchconsole.engine.config.preset_keys import KeyInfo, described_keys
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import PresetError
from torchconsole.tui.form_texts import short_meaning
from torchconsole.tui.screens.pick import PickScreen
from torchconsole.tui.widgets.inputs import SequentialInput
from torchconsole.tui.widgets.pick_list import Pick

LOADING = ("data.num_workers", "data.loader_timeout", "data.pin_memory")
"""Keys that have no effect on samples in memory."""

HINT = "type KEY=VALUE, or search; KEY= unsets it"
_FIRST = ("training", "early_stopping", "checkpoint", "evaluation", "data")
"""The order of the sections; the keys without one come last."""


class SettingScreen(PickScreen):
    """Returns `key=value`, which the engine will not reject as far as this is known here; None if cancelled.

    Enter or tab on a key puts it into the line with its present value, and enter takes what is typed there.
    """

    BINDINGS = [Binding("tab", "complete", "Complete the key", show=False, priority=True)]

    def __init__(self, config: dict[str, Any]) -> None:
        """`config` is the plain preset of the run."""
        self._config = config
        self._values = live_keys(config)
        infos = described_keys(config, None)
        in_memory = value_at(config, "data.in_memory")
        picks = [
            _pick(key, self._values[key], infos.get(key), in_memory)
            for key in sorted(self._values, key=_rank)
            if not (key in LOADING and in_memory is True)  # the engine would refuse it
        ]
        super().__init__("settings that may change now", picks, HINT)

    def on_input_changed(self, event: SequentialInput.Changed) -> None:
        """Search for the key while it is typed; what follows `=` is the value to set."""
        self.list.search(event.value.partition("=")[0].strip())
        self.explain()

    def action_complete(self) -> None:
        """Put the highlighted key into the line, with its present value."""
        picked = self.list.picked
        if picked is not None:
            value = self._values[picked.value]
            self.line.value = f"{picked.value}={'' if value is None else shown_value(value)}"
            self.line.cursor_position = len(self.line.value)

    def action_accept(self) -> None:
        """Return what is typed, or show what is wrong with it; without a value, complete the key."""
        typed = self.line.value.strip()
        if "=" not in typed:
            self.action_complete()
        elif problem := self._problem(typed):
            self._show(problem, is_error=True)
        else:
            self.dismiss(typed)

    def _problem(self, setting: str) -> str:
        """Return why the engine will reject a setting; empty if that is not known here."""
        try:
            change_live(Preset.model_validate(self._config), setting)
        except PresetError as error:
            return "; ".join(str(error).splitlines())
        except ValidationError:  # the preset of another version; its worker knows the keys
            return ""
        return ""


def _pick(key: str, value: Any, info: KeyInfo | None, in_memory: object) -> Pick:
    """Return the line of a key. Whether samples are in memory is known only if the preset says it."""
    if info is None:
        return Pick(key, shown_value(value))
    meaning = short_meaning(info)
    if key in LOADING and in_memory is not False:
        meaning = f"only if samples are not in memory: {meaning}"
    has_default = value is None and "default:" in info.description
    return Pick(key, "default" if has_default else shown_value(value), meaning)


def _rank(key: str) -> int:
    section = key.partition(".")[0]
    return _FIRST.index(section) if section in _FIRST else len(_FIRST)
