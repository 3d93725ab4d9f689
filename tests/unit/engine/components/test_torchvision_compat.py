"""torchvision and torchmetrics can be imported beside any build of torch, and are only where needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.specs import trusted_file
from torchconsole.engine.components.torchvision_compat import prepare_torchvision


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_preparing_imports_nothing_and_makes_both_importable() -> None:
    code = (
        "import sys\n"
        "from torchconsole.engine.components.torchvision_compat import prepare_torchvision\n"
        "note = prepare_torchvision()\n"
        "assert not {'torchvision', 'torchmetrics'} & set(sys.modules)\n"
        "import torchvision, torchmetrics\n"
        "from torchvision.extension import _has_ops\n"
        "assert (note is None) is _has_ops(), note\n"
        "assert prepare_torchvision() is note\n"
        "print('fine')\n"
    )
    assert run(code) == "fine"


def test_what_cannot_be_used_is_one_sentence_that_is_always_the_same() -> None:
    note = prepare_torchvision()
    assert note == prepare_torchvision()
    if note is not None:
        assert "cannot be loaded with torch" in note
        assert "\n" not in note


def test_the_users_own_code_may_import_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trusted_file(tmp_path, monkeypatch, "from torchvision.ops import MLP\n")
    code = (
        "from torchconsole.engine.components.instantiate import UserCode\n"
        f"print(UserCode().resolve('model', {path + ':MLP'!r}).__name__)\n"
    )
    assert run(code) == "MLP"


def test_a_network_of_the_zoo_needs_neither() -> None:
    code = (
        "import sys\n"
        "from torchconsole.engine.components import losses, metrics, optimizers, parameters\n"
        "from torchconsole.engine.components.data.types import DataSpec\n"
        "from torchconsole.engine.components.models import build_model\n"
        "from torchconsole.engine.components.instantiate import UserCode\n"
        "from torchconsole.engine.config.schema import ModelConfig\n"
        "build_model(ModelConfig(name='MLP'), DataSpec('multiclass', (4,), 3, []), UserCode())\n"
        "print(sorted({'torchvision', 'torchmetrics'} & set(sys.modules)))\n"
    )
    assert run(code) == "[]"
