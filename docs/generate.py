"""Generate PRESETS.md, KEYS.md, CONFIG.md and the messages in FORMATS.md (`make docs`)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import tomlkit
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from torchconsole.engine.config.preset_keys import default_name, type_name
from torchconsole.engine.config.resume_policy import rule_for
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.validation_errors import section_class
from torchconsole.tui.keys import SECTIONS, Action, Section
from torchconsole.tui.user_config import SETTINGS, Setting
from torchconsole.tui.user_keys import shown

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "tests" / "protocol" / "v2"
MESSAGES = ("<!-- messages: make docs -->", "<!-- end of messages -->")

INTRODUCTION = """# The keys of a preset

Generated from the schema by `make docs`. Components (`name`) also take the arguments of the class they name,
as in PyTorch. *Changes* says when a key may change: in a live run from the next step on (now) or from the
next epoch on, by `torchconsole send RUN set key=value` or the key `E`; on a resume, by
`torchconsole resume RUN --set key=value`, as may the ones before; or never.

"""


SCRIPT_SECTION = """
## `[script]`: A program of yours instead of all the sections above.

Such a preset has `title`, `description`, `needs`, `group` and this section; see
[the guide](GUIDE.md#run-a-program-of-yours-from-the-menu). A start takes what the preset says at that time.

| key | type | default | meaning |
|---|---|---|---|
| `file` | text |  | Python file; a relative path is one beside the preset, else in the working folder |
| `module` | text |  | module to run instead of a file, as by `python -m` |
| `args` | list of text | `[]` | words that the program gets, each as one text: `["--lr", "0.1"]` |
| `folder` | text |  | working folder of the program, relative to the preset; default: that of the console |
| `env` | table of text | `{}` | environment variables to set |
"""


KEYS_INTRODUCTION = """# Keys

Generated from the table in tui/keys.py by `make docs`. `?` shows the keys of the present screen, `ctrl+p`
finds any of its actions by name.

Give an action other keys in `[keys]` of `~/.config/torchconsole/config.toml`:

```toml
[keys]
pause = "b"
lower_lr = ["-", "f8"]
```

A key is written as it is typed (`"p"`, `"P"`, `"+"`), or by its name: `space`, `enter`, `esc`, `tab`,
`backspace`, `del`, `insert`, `home`, `end`, `pageup`, `pagedown`, `up`, `down`, `left`, `right`, `f1` to
`f24`. Either may follow `ctrl+`, `shift+` or `alt+`, where terminals send that: `ctrl+m`, for example, comes
as `enter` and is refused. On one screen a key can have one meaning. The console reports a conflict when it
starts, the action keeps its own keys, and `f2` lists what is wrong in the file.
"""


def key_reference() -> str:
    """Return the text of docs/KEYS.md."""
    return KEYS_INTRODUCTION + "".join(map(_key_section, SECTIONS))


def _key_section(section: Section) -> str:
    rows = "".join(map(_key_row, section.actions))
    return f"\n## {section.title}\n\n| keys | what they do | in `[keys]` |\n|---|---|---|\n{rows}"


def _key_row(action: Action) -> str:
    keys = " ".join(f"`{shown(key)}`" for key in action.keys)
    return f"| {keys} | {action.help} | {'' if action.is_fixed else f'`{action.config_name}`'} |\n"


CONFIG_INTRODUCTION = """# Settings of the console

Generated from tui/user_config.py by `make docs`. The console keeps its settings in `config.toml` in
`~/.config/torchconsole` (`$XDG_CONFIG_HOME/torchconsole`). It writes those that you change in it, and leaves
your comments and everything else as they are. A key or a file that is wrong is a warning; the console then
uses the default. Its keys are in [KEYS.md](KEYS.md).

| section | key | values | default | meaning |
|---|---|---|---|---|
"""


NOTIFY_ROWS = (
    "| `[notify]` | `command` | text in quotes | none | Command for /bin/sh that workers run; it gets the "
    "run as JSON on its standard input |\n"
    "| `[notify]` | `webhook` | text in quotes | none | URL that workers send the same JSON to |\n"
)
"""The keys of `[notify]` that the console itself does not use."""


def config_reference() -> str:
    """Return the text of docs/CONFIG.md."""
    return CONFIG_INTRODUCTION + "".join(map(_setting_row, SETTINGS.values())) + NOTIFY_ROWS


def _setting_row(setting: Setting) -> str:
    default = tomlkit.item(setting.default).as_string()
    return (
        f"| `[{setting.section}]` | `{setting.key}` | {setting.wanted} | `{default}` | {setting.meaning} |\n"
    )


def preset_reference() -> str:
    """Return the text of docs/PRESETS.md."""
    sections = [_section(Preset, "", "The preset itself")]
    for name, field in Preset.model_fields.items():
        if (section := section_class(field.annotation)) is not None:
            sections += list(_sections(section, name, field))
    return INTRODUCTION + "\n".join(sections) + SCRIPT_SECTION


def formats(text: str) -> str:
    """Return the text of docs/FORMATS.md with its examples of messages updated."""
    begin, end = MESSAGES
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n{''.join(_messages())}{end}{rest.partition(end)[2]}"


def _sections(model: type[BaseModel], prefix: str, field: FieldInfo) -> Iterator[str]:
    title = f"[[{prefix}]]" if _is_list(field.annotation) else f"[{prefix}]"
    yield _section(
        model, prefix, f"`{title}`: {_sentence(field.description) or _first_sentence(model.__doc__)}"
    )
    for name, inner in model.model_fields.items():
        section = section_class(inner.annotation)
        if section is not None and section is not model:
            yield from _sections(section, f"{prefix}.{name}", inner)


def _section(model: type[BaseModel], prefix: str, title: str) -> str:
    rows = [
        _row(f"{prefix}.{name}" if prefix else name, name, field)
        for name, field in model.model_fields.items()
        if _takes_a_value(field.annotation)
    ]
    head = "\n| key | type | default | meaning | changes |\n|---|---|---|---|---|\n" if rows else ""
    return "".join([f"## {title}\n", head, *rows])


def _row(key: str, name: str, field: FieldInfo) -> str:
    rule = rule_for(key)
    changes = rule.when if rule.when != "never" else f"never: {rule.reason}"
    cells = (f"`{name}`", type_name(field.annotation), default_name(field), field.description or "", changes)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _takes_a_value(annotation: Any) -> bool:
    """Whether the key can be given a value, rather than only a table or a list of tables."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return any(member is not NoneType and section_class(member) is None for member in members)


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return origin in (list, tuple) or (origin is not dict and any(map(_is_list, get_args(annotation))))


def _sentence(description: str | None) -> str:
    return f"{description[0].upper()}{description[1:]}." if description else ""


def _first_sentence(text: str | None) -> str:
    return re.split(r"(?<=\.)\s", " ".join((text or "").split()), maxsplit=1)[0]


def _messages() -> Iterator[str]:
    for name, title in (("client.jsonl", "From a client"), ("worker.jsonl", "From a worker")):
        lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
        yield f"\n### {title}\n\n```json\n" + "".join(f"{_shortened(line)}\n" for line in lines) + "```\n"


def _shortened(line: str, length: int = 400) -> str:
    return line if len(line) <= length else f"{line[:length]} ..."


def main() -> None:
    """Write the files."""
    (HERE / "CONFIG.md").write_text(config_reference(), encoding="utf-8")
    (HERE / "KEYS.md").write_text(key_reference(), encoding="utf-8")
    (HERE / "PRESETS.md").write_text(preset_reference(), encoding="utf-8")
    path = HERE / "FORMATS.md"
    path.write_text(formats(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
