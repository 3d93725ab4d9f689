"""The undocumented parts of typer that the command line relies on.

Tested with typer >= 0.28, < 0.30. If a test here fails with a newer version, adapt tui/cli/typer_compat.py.
"""

from __future__ import annotations

from importlib.metadata import version

import pytest
from packaging.version import Version
from typer import _completion_shared
from typer.core import TyperCommand

from torchconsole.tui.cli import typer_compat

OLDEST, FIRST_UNTESTED = Version("0.28"), Version("0.30")


def test_the_installed_typer_is_in_the_tested_range() -> None:
    assert OLDEST <= Version(version("typer")) < FIRST_UNTESTED


@pytest.mark.parametrize("method", ["parse_args", "collect_usage_pieces", "format_options"])
def test_the_overridden_methods_exist(method: str) -> None:
    assert callable(getattr(TyperCommand, method))


def test_the_zsh_script_ends_as_expected() -> None:
    assert _completion_shared.COMPLETION_SCRIPT_ZSH.endswith(typer_compat.ZSH_REGISTRATION)


def test_the_zsh_script_completes_when_it_is_loaded() -> None:
    typer_compat.complete_at_first_tab()
    script = _completion_shared.get_completion_script(
        prog_name="torchconsole", complete_var="_TORCHCONSOLE_COMPLETE", shell="zsh"
    )
    assert '_torchconsole_completion "$@"' in script
