"""Presets that run a program of the user's: where the program is found, what is refused, and who agrees."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchconsole.engine.config import preset_files
from torchconsole.engine.config.draft import save_copy, save_extension
from torchconsole.engine.config.loading import load_preset, read_preset
from torchconsole.engine.config.preset_index import find_preset, list_presets
from torchconsole.engine.config.program_arguments import Argument, ProgramArguments
from torchconsole.engine.config.script import Script
from torchconsole.engine.config.script_draft import ARGS, FOLDER, ScriptDraft
from torchconsole.engine.config.script_presets import (
    check_agreed_content,
    load_script,
    untrusted_script,
    with_agreed_content,
)
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.errors import PresetError, TrustError


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a folder of presets, and an empty home folder."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "presets"
    folder.mkdir()
    monkeypatch.setattr(preset_files, "preset_folders", lambda: [folder, preset_files.user_folder()])
    return folder


def preset(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(name: str = "mine", *overrides: str) -> Script:
    script = load_script(name, overrides)
    assert script is not None
    return script


def test_a_program_is_found_beside_its_preset_or_else_in_the_working_folder(presets: Path) -> None:
    preset(presets, '[script]\nfile = "train.py"\n')
    (presets.parent / "train.py").write_text("1")
    assert loaded().file == str(presets.parent / "train.py")
    (presets / "train.py").write_text("2")
    assert loaded().file == str(presets / "train.py")
    assert loaded().folder == str(presets.parent)
    preset(presets, '[script]\nfile = "train.py"\nfolder = "data"\n')
    (presets / "data").mkdir()
    assert loaded().folder == str(presets / "data")


def test_what_is_set_is_found_like_what_the_preset_names(presets: Path) -> None:
    preset(presets, '[script]\nfile = "train.py"\n')
    for place in (presets / "train.py", presets / "other.py", presets.parent / "third.py"):
        place.write_text("")
    for file, place in (("other.py", presets), ("third.py", presets.parent)):
        assert loaded("mine", f"script.file={file}").file == str(place / file)


def test_another_preset_is_no_program(presets: Path) -> None:
    preset(presets, 'title = "x"\n')
    assert load_script("mine") is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('[script]\nfile = "no.py"\n', "script.file: there is no file no.py, neither beside the preset nor"),
        ('[script]\nfile = "/no.py"\n', "script.file: there is no file /no.py"),
        ('[script]\nfile = "."\n', "script.file: . is a folder, not a Python file"),
        ('[script]\nfile = "net.py"\n', "script.file: net.py is a folder, not a Python file"),
        ("[script]\nargs = []\n", "script.file: name a Python file"),
        ('[script]\nfile = "train.py"\nmodule = "x"\n', "script.file: name a Python file"),
        ("[script]\nfile = 3\n", "script.file: must be text"),
        ('[script]\nfile = "train.py"\nargs = "--lr 1"\n', "script.args: must be a list of texts"),
        ('[script]\nfile = "train.py"\nargs = ["--lr", 0.1]\n', 'script.args.1: must be text: write "0.1"'),
        ('[script]\nfile = "train.py"\nargs = [true]\n', 'script.args.0: must be text: write "true"'),
        ('[script]\nfile = "train.py"\nargs = [["a"]]\n', "script.args.0: must be text"),
        ('[script]\nfile = "train.py"\nenv = { A = 1 }\n', "script.env: must be a table of texts"),
        ('[script]\nfile = "train.py"\nenv = { "A=B" = "" }\n', "script.env: 'A=B' cannot be the name of a"),
        ('[script]\nfile = "train.py"\nenv = { A = "\\u0000" }\n', "script.env.A: cannot contain a null"),
        ('title = 3\n[script]\nfile = "train.py"\n', "title: must be text"),
        ('[script]\nfile = "train.py"\nfolder = "/no"\n', "script.folder: there is no folder /no"),
        ('[script]\nfile = "train.py"\narg = []\n', "script.arg: unknown key, did you mean 'args'?"),
        ('[script]\nfile = "train.py"\n[model]\nname = "MLP"\n', "model: a preset with [script] takes no"),
        ('script = "train.py"\n', "script: must be a section"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_key(presets: Path, text: str, error: str) -> None:
    (presets / "train.py").write_text("")
    (presets / "net.py").mkdir()
    path = preset(presets, text)
    with pytest.raises(PresetError) as raised:
        load_script("mine")
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{path}: {error}")
    assert [entry.name for entry in list_presets()] == ["mine"]  # the menu lists it all the same


def test_what_needs_a_preset_of_torchconsole_says_that_this_runs_a_program(presets: Path) -> None:
    (presets / "train.py").write_text("")
    preset(presets, '[script]\nfile = "train.py"\n')
    with pytest.raises(PresetError, match=r"runs a program of yours .* torchconsole train mine"):
        load_preset("mine")


def test_the_menu_knows_the_program_and_whether_it_is_there(presets: Path) -> None:
    preset(presets, '[script]\nfile = "train.py"\n')
    assert find_preset("mine").problem == "script.file: there is no file train.py"
    (presets / "train.py").write_text("")
    entry = find_preset("mine")
    assert (entry.script, entry.problem) == (str(presets / "train.py"), "")


def test_the_user_agrees_to_the_content_of_the_file(presets: Path) -> None:
    program = presets / "train.py"
    program.write_text("import helper\n")
    (presets / "helper.py").write_text("evil = 1\n")
    preset(presets, '[script]\nfile = "train.py"\n')
    (file,) = untrusted_script(loaded())
    assert file.path == program
    with pytest.raises(TrustError, match="has just changed"):
        with_agreed_content(loaded())
    trust(file.path, file.content)
    assert untrusted_script(loaded()) == []
    agreed = with_agreed_content(loaded())
    check_agreed_content(agreed)
    program.write_text("import os\n")
    assert untrusted_script(loaded()) != []
    with pytest.raises(TrustError, match="has just changed"):
        check_agreed_content(agreed)
    check_agreed_content(loaded())  # typed on a command line


def test_a_module_is_asked_about_unless_it_is_installed(presets: Path) -> None:
    package = presets.parent / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("1\n")
    (package / "train.py").write_text("2\n")
    for module, path in (("pkg", "__main__.py"), ("pkg.train", "train.py")):
        preset(presets, f'[script]\nmodule = "{module}"\n')
        assert [file.path for file in untrusted_script(loaded())] == [package / path]
    preset(presets, '[script]\nmodule = "pytest"\n')
    assert untrusted_script(loaded()) == []
    preset(presets, '[script]\nmodule = "pkg.no"\n')
    with pytest.raises(PresetError, match=r"script\.module: pkg\.no is neither installed nor in"):
        untrusted_script(loaded())


FOUND = ProgramArguments(
    parser="argparse",
    arguments=[
        Argument(key="--lr", flags=["--lr"], type="number", default="0.1", given="0.5"),
        Argument(key="--amp", flags=["--amp"], kind="flag", default="false"),
    ],
    rest=["--new", "a b"],
)


@pytest.fixture
def draft(presets: Path) -> ScriptDraft:
    """A draft whose arguments are known."""
    (presets / "train.py").write_text("")
    text = '# mine\n[script]\nfile = "train.py"\nargs = ["--new", "a b", "--lr", "0.5"]\n'
    made = ScriptDraft(preset(presets, text))
    assert made.text(ARGS) == "--new 'a b' --lr 0.5"
    made.use(FOUND)
    return made


def test_an_unchanged_draft_changes_nothing(draft: ScriptDraft) -> None:
    assert (draft.overrides, draft.args) == ([], ["--new", "a b", "--lr", "0.5"])
    assert (draft.text("--lr"), draft.text("--amp"), draft.text(ARGS)) == ("0.5", "false", "--new 'a b'")


def test_changed_fields_give_another_command_line(draft: ScriptDraft) -> None:
    draft.set("--lr", "")
    draft.set("--amp", "true")
    draft.set(ARGS, "--x ü")
    assert loaded("mine", *draft.overrides).args == ["--amp", "--x", "ü"]
    draft.set("--lr", "fast")
    draft.set(ARGS, "'open")
    draft.set(FOLDER, "/no")
    assert draft.errors == [
        "--lr: must be a number, not 'fast'",
        "script.args: a quote is not closed",
        "script.folder: there is no folder /no",
    ]
    draft.reset()
    assert (draft.errors, draft.overrides) == ([], [])


def test_words_that_were_typed_before_the_arguments_were_known_are_kept(presets: Path) -> None:
    (presets / "train.py").write_text("")
    draft = ScriptDraft(preset(presets, '[script]\nfile = "train.py"\n'))
    draft.set(ARGS, "--new 'a b' --lr 0.5")
    draft.use(FOUND)
    assert loaded("mine", *draft.overrides).args == ["--new", "a b", "--lr", "0.5"]


def test_a_saved_draft_keeps_comments_and_is_found_from_anywhere(draft: ScriptDraft, presets: Path) -> None:
    draft.set("--lr", "2")
    saved = save_copy(draft.path, draft.applied, "copy")
    assert "# mine" in saved.read_text()
    script = loaded(str(saved))
    assert (script.file, script.args) == (str(presets / "train.py"), ["--lr", "2", "--new", "a b"])
    extended = loaded(str(save_extension(draft.path, draft.applied, "extended")))
    assert extended == script


def test_an_argument_that_is_set_like_a_key_says_how_arguments_are_set(presets: Path) -> None:
    preset(presets, '[script]\nfile = "train.py"\n')
    (presets / "train.py").write_text("")
    with pytest.raises(PresetError, match=r"--set lr=0\.5: .*mine\.toml runs a program of yours; set all"):
        loaded("mine", "lr=0.5")
    assert loaded("mine", 'script.args=["--lr", "0.5"]').args == ["--lr", "0.5"]


def test_the_preset_of_a_program_says_that_no_other_part_can_use_it(presets: Path) -> None:
    with pytest.raises(PresetError, match=r"mine\.toml: runs a program of yours"):
        read_preset(preset(presets, '[script]\nfile = "train.py"\n'))
