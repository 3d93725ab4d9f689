"""Editing a preset: its keys, typed values, errors, and what is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchconsole.engine.config.catalogue import Catalogue, Signature
from torchconsole.engine.config.draft import (
    Draft,
    as_typed,
    changed_content,
    concerns,
    draft_errors,
    name_conflict,
    save_copy,
    save_extension,
)
from torchconsole.engine.config.loading import load_preset, parse_value, validate
from torchconsole.engine.config.preset_files import difference, find_file, read_inherited
from torchconsole.engine.config.preset_index import list_presets
from torchconsole.engine.config.preset_keys import default_of, known_keys
from torchconsole.engine.errors import PresetError

Save = Callable[[Path, dict[str, str], str], Path]
TITLE = 'title = "A"  # its title\n'
BODY = """\
[data]
name = "digits"
transforms.train = [{ name = "RandomCrop", size = 8 }]
[model]
name = "net.py:Net"  # beside this file
[early_stopping]  # stop early
patience = 3  # a little
[[schedule]]
name = "LinearLR"
until = 5  # steps
"""

TEXTS = ["auto", "cuda:1", "1", "true", "", " a ", "a\nb", "a # b", '"q"', "=", "[red]", "a\x1b", "a\u200b"]
VALUES = [*TEXTS, 1, 0.1, 1e-05, True, [1, [2.5]], [], {"a": 1, "b.c": "x"}, [{"name": "Flip", "p": 0.5}], {}]


@pytest.fixture
def preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A preset with comments and user code in ./presets; the user's config folder is empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "net.py").write_text("class Net: ...\n")
    (folder / "a.toml").write_text(TITLE + BODY)
    return folder / "a.toml"


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_formatted_value_parses_to_itself(value: Any) -> None:
    text = as_typed(value)
    assert parse_value(text) == value
    assert text.isprintable()


@pytest.mark.parametrize("entry", list_presets(), ids=lambda entry: entry.name)
def test_every_shown_value_of_a_preset_can_be_typed(entry: Any) -> None:
    draft = Draft(entry.path)
    keys = [key for key in known_keys(draft.base, None) if draft.original(key)]
    content = changed_content(draft.base, {key: draft.original(key) for key in keys})
    assert validate(content, "typed") == load_preset(str(entry.path))


def test_typing_the_original_value_is_no_change(preset: Path) -> None:
    draft = Draft(preset)
    draft.set("early_stopping.patience", "5")
    draft.set("training.epochs", "3")
    assert draft.overrides == ["early_stopping.patience=5", "training.epochs=3"]
    assert draft.text("training.epochs") == "3"
    draft.set("early_stopping.patience", " 3 ")
    draft.set("training.epochs", "")
    assert draft.overrides == []
    draft.set("early_stopping.patience", "")
    assert draft.overrides == ["early_stopping.patience="]


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("training.epochs", ""),
        ("schedule.1.until", ""),
        ("model.rename.backbone", ""),
        ("model.width", ""),  # an argument of user code
        ("training.epoch", "unknown key"),
        ("trainin.epochs", "unknown key"),
        ("training.epochs.more", "'epochs' is a value, not a section"),
        ("schedule.2.until", "must be a number from 0 to 0"),
        ("data", "is a section"),
        ("", "write key=value"),
        ("a..b", "write key=value"),
    ],
)
def test_a_key_that_a_preset_cannot_have_is_refused(preset: Path, key: str, problem: str) -> None:
    found = Draft(preset).problem_of(key)
    assert problem in found
    assert bool(problem) == bool(found)


def test_an_entry_of_a_list_is_added_by_setting_a_key_in_it(preset: Path) -> None:
    draft = Draft(preset)
    draft.set("schedule.1.step_size", "4")
    draft.set("schedule.1.name", "StepLR")
    schedule = draft.content["schedule"]
    assert schedule == [{"name": "LinearLR", "until": 5}, {"name": "StepLR", "step_size": 4}]
    draft.set("schedule.1.name", "")
    draft.set("schedule.1.step_size", "")
    assert draft.overrides == []


def test_a_default_applies_only_if_its_section_exists(preset: Path) -> None:
    assert default_of("training.epochs", {}) == 10
    assert default_of("early_stopping.patience", {}) is None
    assert default_of("early_stopping.patience", {"early_stopping": {}}) == 7
    assert default_of("optimizer.momentum", {}) is None
    assert default_of("no.such.key", {}) is None


def test_known_keys_include_the_arguments_of_named_components() -> None:
    sgd = Signature(arguments={"lr": False, "momentum": False})
    offered = Catalogue.model_construct(
        kinds={
            kind: {"SGD": sgd}
            for kind in ("data", "target transform", "model", "loss", "optimizer", "schedule", "metric")
        }
    )
    content = {"optimizer": {"name": "SGD"}, "schedule": [{"name": "x"}, {"name": "y"}]}
    known = known_keys(content, offered)
    assert known["optimizer.momentum"] == "argument of SGD"
    assert known["training.epochs"] == "passes over the training data"
    assert {"schedule.0.until", "schedule.1.until", "early_stopping.patience"} <= known.keys()
    assert "schedule.2.until" not in known


def test_errors_name_their_key(preset: Path) -> None:
    base = read_inherited(preset)
    (error,) = draft_errors(base, {"training.epochs": "0"}, None)
    assert error == "training.epochs: must be at least 1, got 0"
    assert concerns(error, "training.epochs")
    assert concerns(error, "training")
    assert not concerns(error, "training.epoch")
    (error,) = draft_errors(base, {"schedule.4.until": "1"}, None)
    assert error.startswith("schedule.4.until=1: '4' must be a number from 0 to 0")
    assert concerns(error, "schedule.4.until")


def test_a_copy_keeps_comments_and_makes_paths_of_code_absolute(preset: Path) -> None:
    changes = {"early_stopping.patience": "9", "schedule.0.until": "7", "training.epochs": "2", "title": "B"}
    saved = save_copy(preset, changes, "mine")
    text = saved.read_text()
    for line in (
        'title = "B"  # its title',
        f'name = "{preset.parent / "net.py"}:Net"  # beside this file',
        "[early_stopping]  # stop early",
        "patience = 9  # a little",
        "until = 7  # steps",
        "epochs = 2",
    ):
        assert line in text.splitlines()
    assert read_inherited(saved) == changed_content(read_inherited(preset), changes)
    assert [path.name for path in saved.parent.iterdir()] == ["mine.toml"]


def test_a_copy_of_an_extending_preset_is_resolved_if_its_text_cannot_hold_the_change(preset: Path) -> None:
    child = preset.with_name("child.toml")
    child.write_text('extends = "./a.toml"  # inherits the rest\ntitle = "C"\n')
    saved = save_copy(child, {"training.epochs": "2"}, "one")
    assert f'extends = "{preset}"  # inherits the rest' in saved.read_text()
    changes = {"schedule.0.until": "7", "early_stopping.patience": ""}
    saved = save_copy(child, changes, "two")
    assert "extends" not in saved.read_text()
    assert read_inherited(saved) == changed_content(read_inherited(child), changes)


@pytest.mark.parametrize("save", [save_copy, save_extension])
@pytest.mark.parametrize("sets_root", [True, False])
def test_a_saved_preset_finds_its_data_from_every_folder(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Save, sets_root: bool
) -> None:
    for name in ("data.csv", "tokens.json", "net.safetensors"):
        (tmp_path / name).touch()
    changes = {"data.name": "CSV", "data.root": "data.csv", "data.transforms": ""}
    changes |= {"data.tokenizer": "tokens.json", "model.weights": "net.safetensors"}
    if not sets_root:  # the preset has it
        preset.write_text(TITLE + BODY.replace('name = "digits"', 'name = "CSV"\nroot = "data.csv"'))
        del changes["data.name"], changes["data.root"]
    if save is save_extension:
        del changes["data.transforms"]
    saved = read_inherited(save(preset, changes, "mine"))
    monkeypatch.chdir("/")
    assert saved["data"]["root"] == str(tmp_path / "data.csv")
    assert saved["data"]["tokenizer"] == str(tmp_path / "tokens.json")
    assert saved["model"]["weights"] == str(tmp_path / "net.safetensors")


@pytest.mark.parametrize("root", ["missing.csv", "~/data.csv", "/", "a\\u0000b", "x" * 5000])
def test_other_places_are_saved_as_they_are(preset: Path, root: str) -> None:
    changes = {"data.root": root}
    saved = read_inherited(save_copy(preset, changes, "mine"))
    assert saved == changed_content(read_inherited(preset), changes)


def test_an_extension_contains_only_differences(preset: Path) -> None:
    changes = {"schedule.0.until": "7", "data.batch_size": "4", "model.name": "MLP"}
    saved = save_extension(preset, changes, "mine")
    content = read_inherited(saved)
    assert content == changed_content(read_inherited(preset), changes)
    assert 'extends = "a"' in saved.read_text()
    assert "patience" not in saved.read_text()


def test_an_extension_with_the_name_of_its_parent_refers_to_the_file(
    preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = find_file("digits-mlp")
    saved = save_extension(shipped, {"training.epochs": "2"}, "digits-mlp")
    assert find_file("digits-mlp") == saved
    assert load_preset("digits-mlp").training.epochs == 2


def test_an_extension_cannot_remove_keys(preset: Path) -> None:
    with pytest.raises(PresetError, match="cannot remove until"):
        difference({"a": {"until": 3}}, {"a": {}})
    with pytest.raises(PresetError, match="save a copy instead"):
        save_extension(preset, {"early_stopping.patience": ""}, "mine")
    assert not (preset.parent.parent / "config").exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "a\x1b", "x.toml", "-x", "x" * 101])
def test_an_unusable_name_is_rejected(preset: Path, name: str) -> None:
    with pytest.raises(PresetError, match="a preset's name may contain"):
        save_copy(preset, {}, name)


def test_a_name_that_another_preset_hides_is_rejected(preset: Path) -> None:
    with pytest.raises(PresetError, match=r"a\.toml takes precedence"):
        name_conflict("a")
    assert name_conflict("new") == ""
    assert "built-in" in name_conflict("digits-mlp")
    save_copy(preset, {}, "new")
    assert "already have a preset" in name_conflict("new")


def test_an_unwritable_folder_gives_one_message(preset: Path) -> None:
    (preset.parent.parent / "config").write_text("a file")
    with pytest.raises(PresetError, match="cannot be written"):
        save_copy(preset, {}, "mine")
