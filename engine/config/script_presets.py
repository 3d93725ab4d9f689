"""Presets whose `[script]` names a program of the user's own: read, checked, and asked about."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torchconsole.engine.config.import_path import find_in, find_installed
from torchconsole.engine.config.loading import set_key
from torchconsole.engine.config.preset_files import existing_file, find_file, read_inherited
from torchconsole.engine.config.script import Script, program_environment
from torchconsole.engine.config.user_code import is_trusted_content
from torchconsole.engine.config.user_imports import UserFile, read
from torchconsole.engine.errors import PresetError, TrustError
from torchconsole.engine.text import did_you_mean
from torchconsole.engine.user_folders import expand_user

NOT_COVERED = "What it imports is not covered: other files of yours run without a question."
"""What is said with every question about a program."""

_HOW_TO_SET_ARGUMENTS = """set all its arguments, as in --set 'script.args=["--lr", "0.1"]'"""
_CHANGED = "{} has just changed: start it again to be asked about its new content"
_TEXTS = ("title", "description", "needs", "group")
_KEYS = tuple(each.name for each in fields(Script))


def load_script(name: str, overrides: Sequence[str] = ()) -> Script | None:
    """Load the program of a script preset, with `key=value` overrides; None if it is another kind of preset.

    Paths become absolute. Raises PresetError with a line for each error.
    """
    path = find_file(name)
    content = read_inherited(path)
    if "script" not in content:
        return None
    for override in overrides:
        if override.partition(".")[0].partition("=")[0].strip() not in ("script", *_TEXTS):
            raise PresetError(f"--set {override}: {path} runs a program of yours; {_HOW_TO_SET_ARGUMENTS}")
        set_key(content, override)
    return script_of(content, path)


def script_of(content: dict[str, Any], path: Path) -> Script:
    """Return the program of a resolved script preset, ready to run. Raises PresetError."""
    if errors := list(script_errors(content, path.parent)):
        raise PresetError(*(f"{path}: {error}" for error in errors))
    script = Script(**content["script"])
    folder = expand_user(script.folder).absolute() if script.folder else Path.cwd()
    file = _locate(script.file, path.parent)
    return replace(
        script,
        file=str(file.resolve()) if file else "",
        folder=str(folder),
        env=program_environment(script.env),
        sha256="",
    )


def _locate(file: str, beside: Path) -> Path | None:
    """Find a file beside the preset, else in the working folder."""
    return (existing_file(file, beside) or existing_file(file)) if file else None


def script_errors(content: dict[str, Any], folder: Path) -> Iterator[str]:
    """Yield a line `key: what is wrong` for each error in a resolved script preset, which is in `folder`."""
    for key, value in content.items():
        if key in _TEXTS and not isinstance(value, str):
            yield f"{key}: must be text"
        elif key not in ("script", *_TEXTS):
            yield f"{key}: a preset with [script] takes no other settings; remove this key or [script]"
    section = content["script"]
    if not isinstance(section, dict):
        yield 'script: must be a section; write [script] and in it file = "train.py"'
        return
    for key in section:
        if key not in _KEYS:
            yield f"script.{key}: unknown key{did_you_mean(key, _KEYS[:-1])}"
    wrong = [
        key for key in ("file", "module", "folder", "sha256") if not isinstance(section.get(key, ""), str)
    ]
    yield from (f"script.{key}: must be text" for key in wrong)
    yield from _wrong_words(section.get("args", []))
    yield from _wrong_variables(section.get("env", {}))
    if not wrong:
        yield from _wrong_places(section, folder)


def _wrong_variables(env: Any) -> Iterator[str]:
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        yield 'script.env: must be a table of texts, for example { CUDA_VISIBLE_DEVICES = "0" }'
        return
    for name, value in env.items():
        if not name or "=" in name or "\0" in name:
            yield f"script.env: {name!r} cannot be the name of a variable"
        elif "\0" in value:
            yield f"script.env.{name}: cannot contain a null character"


def _wrong_words(args: Any) -> Iterator[str]:
    if not isinstance(args, list):
        yield 'script.args: must be a list of texts, for example ["--lr", "0.1"]'
        return
    for number, word in enumerate(args):
        if not isinstance(word, str):
            shown = str(word).lower() if isinstance(word, bool) else word
            hint = "" if isinstance(word, dict | list) else f': write "{shown}"'
            yield f"script.args.{number}: must be text{hint}"
        elif "\0" in word:
            yield f"script.args.{number}: cannot contain a null character"


def _wrong_places(section: dict[str, Any], beside: Path) -> Iterator[str]:
    file, module, folder = (section.get(key, "") for key in ("file", "module", "folder"))
    if bool(file) == bool(module):
        yield 'script.file: name a Python file, as in file = "train.py", or a module; one of them'
    elif file and _locate(file, beside) is None:
        yield f"script.file: {_absence(file, beside)}"
    if folder and not expand_user(folder).is_dir():
        yield f"script.folder: there is no folder {folder}"


def _absence(file: str, beside: Path) -> str:
    if expand_user(file).is_dir() or (beside / file).is_dir():
        return f"{file} is a folder, not a Python file"
    places = "" if Path(file).is_absolute() else ", neither beside the preset nor in the working folder"
    return f"there is no file {file}{places}"


def untrusted_script(script: Script) -> list[UserFile]:
    """Return the program's file if the user has not agreed to its content yet.

    What the file imports is not looked at. Raises PresetError for a module that is not found, TrustError for
    a file that cannot be read.
    """
    file = _file_to_agree_to(script)
    return [] if file is None or is_trusted_content(file.content) else [file]


def with_agreed_content(script: Script) -> Script:
    """Return the program with the hash of its content, so that a worker runs no other.

    Raises TrustError if the user has not agreed to the content, which may have changed meanwhile.
    """
    file = _file_to_agree_to(script)
    if file is None:
        return script
    if not is_trusted_content(file.content):
        raise TrustError(_CHANGED.format(file.path))
    return replace(script, sha256=hashlib.sha256(file.content).hexdigest())


def check_agreed_content(script: Script) -> None:
    """Raise TrustError if the program's file has changed since the user has agreed to it."""
    file = _file_to_agree_to(script) if script.sha256 else None
    if file is not None and script.sha256 != hashlib.sha256(file.content).hexdigest():
        raise TrustError(_CHANGED.format(file.path))


def _file_to_agree_to(script: Script) -> UserFile | None:
    """Return the file that the user has to agree to; None for an installed module."""
    path = Path(script.file) if script.file else _module_file(script)
    return None if path is None else UserFile(path, read(path), is_named=True)


def _module_file(script: Script) -> Path | None:
    """Find the file that `python -m` would run, without importing anything; None for an installed module."""
    entries = script.env.get("PYTHONPATH", "").split(os.pathsep)
    folders = [script.folder, *filter(None, entries)]
    for name in (f"{script.module}.__main__", script.module):
        locations: Sequence[str] | None = folders
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            spec = find_in(".".join(parts[:length]), locations) if locations else None
            locations = spec.submodule_search_locations if spec else None
        if spec is not None and spec.origin is not None and not locations:
            return Path(spec.origin)
    if find_installed(script.module.partition(".")[0]) is not None:
        return None
    raise PresetError(f"script.module: {script.module} is neither installed nor in {script.folder}")
