"""The console's settings in config.toml: what they are, reading them, and remembering what the user changes.

    [console]
    theme = "auto"
    smoothing = 0.9

    [keys]
    pause = "b"

A key or a file that is wrong is a warning, never an error: the console then uses what it has by default.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from torchconsole.engine.config.user_config import MOST_BYTES, read_user_config, section, user_config_file
from torchconsole.engine.errors import UserConfigError
from torchconsole.engine.files import exists, read_regular, real_path, write_atomically
from torchconsole.engine.text import did_you_mean
from torchconsole.engine.user_folders import make_private
from torchconsole.tui.pane_names import PANES
from torchconsole.tui.run_listing import MENU_COLUMNS, ORDERS
from torchconsole.tui.user_keys import UserKeys, read_user_keys

SECTION = "console"
SECTIONS = (SECTION, "keys", "notify")

AUTO = "auto"

LOCK_SECONDS = 2.0
"""How long a console waits for another one that writes config.toml."""

_PRIVATE = 0o600
"""Mode of a new config.toml: [notify] may have the address of a webhook, which is a secret."""


def _about(
    meaning: str, choices: tuple[object, ...] = (), section: str = SECTION, key: str = ""
) -> dict[str, object]:
    """Return a field's metadata. `section` and `key` are its place in config.toml, if it is not as usual."""
    return {"meaning": meaning, "choices": choices, "section": section, "key": key}


@dataclass
class UserConfig:
    """The settings; `problems` says what in config.toml is wrong.

    A field's name is its key in `[console]`, unless its metadata names another place.
    """

    theme: str = field(
        default=AUTO, metadata=_about("Theme; auto: ours, dark or light as the terminal's background")
    )
    signs: str = field(
        default=AUTO,
        metadata=_about("Signs and charts in Unicode or ASCII", (AUTO, "unicode", "ascii")),
    )
    mouse: bool = field(default=True, metadata=_about("Use the mouse; without it, the terminal selects text"))
    notify_terminal: bool = field(
        default=True,
        metadata=_about(
            "Use the terminal's title, bell and desktop notifications", section="notify", key="terminal"
        ),
    )
    smoothing: float = field(
        default=0.9, metadata=_about("Smoothing of training curves (decay of an average)", (0.0, 0.9, 0.99))
    )
    log_axis: bool = field(default=True, metadata=_about("Draw losses on a logarithmic axis"))
    x_axis: str = field(
        default="step", metadata=_about("Unit of the x axis of charts", ("step", "epoch", "minutes", "clock"))
    )
    metrics: list[str] = field(
        default_factory=list,
        metadata=_about("Metrics that have a chart; empty: a choice of the console"),
    )
    pane: str = field(default="charts", metadata=_about("Open pane of the screen of a run", tuple(PANES)))
    run_order: str = field(
        default="age", metadata=_about("Column that sorts the list of runs", tuple(ORDERS))
    )
    run_order_reversed: bool = field(default=False, metadata=_about("Sort the list of runs in reverse"))
    run_columns: list[str] = field(
        default_factory=list,
        metadata=_about("Columns of the list of runs; empty: all", MENU_COLUMNS),
    )
    keys: UserKeys = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Setting:
    """A setting: its field in UserConfig, its place in config.toml, and what it can be."""

    name: str
    section: str
    key: str
    default: object
    meaning: str
    choices: tuple[object, ...]

    def check(self, value: object) -> object:
        """Return the value, as the type of the default. Raises ValueError with what it must be."""
        if type(self.default) is float and type(value) is int:
            value = float(value)
        items = value if isinstance(value, list) else [value]
        is_valid = type(value) is type(self.default)
        if isinstance(self.default, list):
            is_valid = is_valid and all(isinstance(item, str) for item in items)
        if self.choices:
            is_valid = is_valid and all(item in self.choices for item in items)
        if not is_valid:
            raise ValueError(f"must be {self.wanted}, got {value!r}")
        return value

    @property
    def wanted(self) -> str:
        """What a value must be."""
        if self.choices:
            shown = [f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in self.choices]
            one_of = f"{', '.join(shown[:-1])} or {shown[-1]}"
            return f"a list of {one_of}" if isinstance(self.default, list) else one_of
        names = {bool: "true or false", str: "text in quotes", list: "a list of texts"}
        return names[type(self.default)]


def _read_settings() -> dict[str, Setting]:
    settings, defaults = {}, UserConfig()
    for one in fields(UserConfig):
        if about := one.metadata:
            place = about["section"], about["key"] or one.name
            default = getattr(defaults, one.name)
            settings[one.name] = Setting(one.name, *place, default, about["meaning"], about["choices"])
    return settings


SETTINGS = _read_settings()
"""Name of a field of UserConfig -> setting."""


def load_config(before: UserConfig | None = None) -> UserConfig:
    """Read config.toml. What is wrong in it is in `problems`, and as by default.

    If the file cannot be read at all, everything is as `before`.
    """
    config = UserConfig()
    try:
        content = read_user_config()
    except UserConfigError as error:
        return replace(before or config, problems=[str(error)])
    for name in content:
        if name not in SECTIONS:
            config.problems.append(f"{name}: unknown section{did_you_mean(name, SECTIONS)}")
    _read_into(config, content)
    config.keys, problems = read_user_keys(_section(content, "keys", config))
    config.problems = [f"{user_config_file()}: {problem}" for problem in [*config.problems, *problems]]
    return config


def _read_into(config: UserConfig, content: Mapping[str, object]) -> None:
    known = {setting.key: setting for setting in SETTINGS.values() if setting.section == SECTION}
    found = _section(content, SECTION, config)
    config.problems += [
        f"{SECTION}.{key}: unknown key{did_you_mean(key, known)}" for key in found if key not in known
    ]
    for setting in SETTINGS.values():
        try:
            value = _section(content, setting.section, config)[setting.key]
            setattr(config, setting.name, setting.check(value))
        except KeyError:
            continue
        except ValueError as error:
            config.problems.append(f"{setting.section}.{setting.key}: {error}")


def _section(content: Mapping[str, object], name: str, config: UserConfig) -> dict[str, object]:
    try:
        return section(content, name)
    except UserConfigError as error:
        problem = str(error).removeprefix(f"{user_config_file()}: ")
        config.problems += [] if problem in config.problems else [problem]
        return {}


def save_settings(values: Mapping[str, object]) -> None:
    """Write settings, by their fields in UserConfig, into config.toml. The user's comments and keys stay.

    Raises UserConfigError if the file is not valid TOML, which is the user's to mend, and OSError.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    path = real_path(user_config_file())  # people keep such files in a repository, and a link here
    make_private(path.parent)
    with _only_writer(path.parent):
        text, mode = "", _PRIVATE
        if exists(path):
            text, mode = read_regular(path, MOST_BYTES).decode("utf-8"), stat.S_IMODE(path.stat().st_mode)
        try:
            document = tomlkit.parse(text)
        except (TOMLKitError, UnicodeError) as error:
            raise UserConfigError(f"{path}: is not valid TOML: {error}") from error
        for name, value in values.items():
            setting = SETTINGS[name]
            table = document.setdefault(setting.section, tomlkit.table())
            if not isinstance(table, MutableMapping):
                name = setting.section
                raise UserConfigError(f"{path}: {name}: must be a section: write [{name}]")
            table[setting.key] = value
        write_atomically(path, tomlkit.dumps(document).encode(), mode)


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Keep other consoles from writing meanwhile, which would lose settings; at most for LOCK_SECONDS."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # a folder that may be written but not read
        yield
        return
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.005)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        os.close(descriptor)
