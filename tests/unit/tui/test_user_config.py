"""config.toml: what the console reads from it, what it reports, and what it writes into it."""

from __future__ import annotations

import errno
import stat
import threading
from pathlib import Path

import pytest

from torchconsole.engine.config.user_config import user_config_file
from torchconsole.engine.errors import UserConfigError
from torchconsole.tui import user_config
from torchconsole.tui.user_config import SETTINGS, UserConfig, load_config, save_settings


@pytest.fixture(autouse=True)
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "torchconsole" / "config.toml"


def write(text: str) -> None:
    user_config_file().parent.mkdir(exist_ok=True)
    user_config_file().write_text(text, encoding="utf-8")


def test_without_a_file_everything_is_as_by_default() -> None:
    assert load_config() == UserConfig()


def test_settings_and_keys_are_read() -> None:
    write(
        '[console]\ntheme = "nord"\nsmoothing = 0\nmouse = false\nmetrics = ["val/f1"]\n'
        '[notify]\nterminal = false\ncommand = "true"\n[keys]\npause = "b"\n'
    )
    config = load_config()
    assert config == UserConfig(
        theme="nord",
        smoothing=0.0,
        mouse=False,
        metrics=["val/f1"],
        notify_terminal=False,
        keys={"pause": ("b",)},
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("console = 1", "console: must be a section: write [console]"),
        ("keys = []", "keys: must be a section: write [keys]"),
        ("[consol]", "consol: unknown section, did you mean 'console'?"),
        ("[console]\nthme = 1", "console.thme: unknown key, did you mean 'theme'?"),
        ("[console]\ntheme = 1", "console.theme: must be text in quotes, got 1"),
        ('[console]\nmouse = "yes"', "console.mouse: must be true or false, got 'yes'"),
        ("[console]\nsmoothing = 0.5", "console.smoothing: must be 0.0, 0.9 or 0.99, got 0.5"),
        ("[console]\nsmoothing = true", "console.smoothing: must be 0.0, 0.9 or 0.99, got True"),
        ('[console]\nx_axis = "hours"', 'console.x_axis: must be "step", "epoch", "minutes" or "clock"'),
        ("[console]\nmetrics = [1]", "console.metrics: must be a list of texts, got [1]"),
        ('[console]\nrun_columns = ["agee"]', 'console.run_columns: must be a list of "tags", "status"'),
        ('[notify]\nterminal = "off"', "notify.terminal: must be true or false, got 'off'"),
        ('[keys]\npause = "s"', "keys.pause: 's' is a key of save"),
        ("[console", "is not valid TOML"),
        ("\0", "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_one_problem_and_the_rest_is_used(text: str, problem: str) -> None:
    write(text)
    (found,) = load_config().problems
    assert found.startswith(f"{user_config_file()}: ")
    assert problem in found


def test_what_is_right_beside_it_is_used() -> None:
    write(
        '[consol]\n[console]\nthme = "x"\nmouse = false\nsmoothing = "a"\n[keys]\npause = "s"\nhold = "b"\n'
    )
    config = load_config()
    assert (config.mouse, config.smoothing, config.keys) == (False, 0.9, {"hold": ("b",)})
    assert len(config.problems) == 4


def test_a_folder_or_a_file_that_is_not_utf8_in_its_place_is_a_problem(config_file: Path) -> None:
    config_file.parent.mkdir()
    config_file.write_bytes(b"\xff")
    assert "is not UTF-8 text" in load_config().problems[0]
    config_file.unlink()
    config_file.mkdir()
    assert "cannot be read" in load_config().problems[0]


def test_what_is_saved_is_read_again(config_file: Path) -> None:
    values = {
        "theme": "ansi",
        "signs": "ascii",
        "mouse": False,
        "notify_terminal": False,
        "smoothing": 0.9,
        "log_axis": False,
        "x_axis": "clock",
        "metrics": ["a", 'b"]\n'],
        "pane": "changes",
        "run_order": "status",
        "run_order_reversed": True,
        "run_columns": ["age", "tags"],
    }
    assert set(values) == set(SETTINGS)
    save_settings(values)
    assert load_config() == UserConfig(**values)  # type: ignore[arg-type]
    assert stat.S_IMODE(config_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(config_file.parent.stat().st_mode) == 0o700


def test_the_users_comments_and_keys_stay(config_file: Path) -> None:
    write(
        '# mine\n[notify]\ncommand = "x" # how\n\n[console] # look\n# a comment\ntheme = "nord" # nice\n\n'
        '[keys]\npause="p"\n[other]\n'
    )
    save_settings({"theme": "ansi", "mouse": False})
    assert config_file.read_text() == (
        '# mine\n[notify]\ncommand = "x" # how\n\n[console] # look\n# a comment\ntheme = "ansi" # nice\n'
        'mouse = false\n\n[keys]\npause="p"\n[other]\n'
    )


@pytest.mark.parametrize(
    "text", ['console.theme = "x"\n[keys]\n', 'console = {theme = "x"}\n', "\n\n# only this"]
)
def test_every_way_to_write_a_section_is_kept(text: str) -> None:
    write(text)
    save_settings({"mouse": False})
    save_settings({"theme": "ansi"})
    assert load_config() == UserConfig(theme="ansi", mouse=False)


@pytest.mark.parametrize(
    ("text", "problem"), [("[console", "is not valid TOML"), ("console = 3", "console: must be a section")]
)
def test_a_broken_file_is_left_to_the_user(config_file: Path, text: str, problem: str) -> None:
    write(text)
    with pytest.raises(UserConfigError, match=problem):
        save_settings({"theme": "ansi"})
    assert config_file.read_text() == text


def test_two_consoles_that_write_at_once_lose_nothing(config_file: Path) -> None:
    together = threading.Barrier(2)

    def save(name: str, values: tuple[object, object]) -> None:
        for number in range(12):
            together.wait()
            save_settings({name: values[number % 2]})

    write("# mine\n")
    for _ in range(3):
        writers = [
            threading.Thread(target=save, args=("mouse", (False, True))),
            threading.Thread(target=save, args=("pane", ("log", "model"))),
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert load_config() == UserConfig(mouse=True, pane="model")
    assert config_file.read_text().startswith("# mine\n")


def test_a_folder_without_locks_is_written_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(user_config.fcntl, "flock", refuse)
    save_settings({"pane": "log"})
    assert load_config() == UserConfig(pane="log")


def test_a_link_and_the_mode_of_the_file_stay(config_file: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "torchconsole.toml"
    real.parent.mkdir()
    real.write_text("# mine\n")
    real.chmod(0o640)
    config_file.parent.mkdir()
    config_file.symlink_to(real)
    save_settings({"theme": "ansi"})
    assert config_file.is_symlink()
    assert real.read_text().startswith("# mine\n")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert load_config().theme == "ansi"
    assert list(real.parent.iterdir()) == [real]
