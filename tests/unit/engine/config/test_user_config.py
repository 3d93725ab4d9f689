"""config.toml: what is read, and what is refused with the file, the key and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.user_config import NotifyConfig, read_notify_config, read_user_config
from torchconsole.engine.errors import PresetError, UserConfigError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "torchconsole"
    folder.mkdir(mode=0o700)
    return folder / "config.toml"


def write(config: Path, text: str) -> None:
    config.write_text(text)
    config.chmod(0o600)


@pytest.mark.usefixtures("config")
def test_without_a_file_the_defaults_apply() -> None:
    assert read_user_config() == {}
    assert read_notify_config() == NotifyConfig(terminal=True, command="", webhook="")


def test_the_notify_section_is_read(config: Path) -> None:
    write(config, 'theme = "x"\n[notify]\nterminal = false\ncommand = "cat"\nwebhook = "https://a.b/c"\n')
    assert read_notify_config() == NotifyConfig(terminal=False, command="cat", webhook="https://a.b/c")
    assert read_user_config()["theme"] == "x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[notify]\ncomand = 'x'", "notify.comand: unknown key, did you mean 'command'?"),
        ("[notify]\ncommand = 1", "notify.command: must be text in quotes, got 1"),
        ("[notify]\nterminal = 'yes'", "notify.terminal: must be true or false, got 'yes'"),
        (
            "[notify]\nwebhook = 'file:///etc/passwd'",
            "notify.webhook: must be a URL that begins with https://",
        ),
        ("[notify]\nwebhook = 'https://'", "notify.webhook: must be a URL"),
        ("[notify]\nwebhook = 'https://a:99999/'", "notify.webhook: must be a URL"),
        ("notify = 'x'", "notify: must be a section: write [notify]"),
        ("[notify", "is not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_the_file_and_the_key(config: Path, text: str, reason: str) -> None:
    write(config, text)
    with pytest.raises(UserConfigError, match=r"config\.toml: ") as caught:
        read_notify_config()
    assert reason in str(caught.value)


@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_command_that_other_users_can_write_is_refused(config: Path, which: str) -> None:
    write(config, "[notify]\ncommand = 'cat'")
    (config if which == "file" else config.parent).chmod(0o770)
    with pytest.raises(UserConfigError, match="chmod go-w"):
        read_notify_config()


def test_a_preset_cannot_notify(config: Path) -> None:
    preset = config.with_name("mine.toml")
    preset.write_text('extends = "digits-mlp"\n[notify]\ncommand = "touch /tmp/x"\n')
    with pytest.raises(PresetError, match="notify"):
        load_preset(str(preset))
