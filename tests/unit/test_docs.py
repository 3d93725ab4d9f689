"""The generated documents are those that today's types give: `make docs` renews them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")),
]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = load_generator()
"""Imported before any test imports user code: from then on, files that are not installed need trust."""


def test_the_preset_reference_is_up_to_date() -> None:
    assert (ROOT / "docs" / "PRESETS.md").read_text(encoding="utf-8") == GENERATE.preset_reference()


def test_the_key_reference_is_up_to_date() -> None:
    assert (ROOT / "docs" / "KEYS.md").read_text(encoding="utf-8") == GENERATE.key_reference()


def test_the_reference_of_settings_is_up_to_date() -> None:
    assert (ROOT / "docs" / "CONFIG.md").read_text(encoding="utf-8") == GENERATE.config_reference()


def test_the_examples_of_messages_are_up_to_date() -> None:
    text = (ROOT / "docs" / "FORMATS.md").read_text(encoding="utf-8")
    assert text == GENERATE.formats(text)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_to_files_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    missing = [target for target in targets if not (ROOT / document).parent.joinpath(target).exists()]
    assert missing == []


def test_files_that_the_architecture_names_exist() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:engine|tui)/[\w/]+\.py)`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
