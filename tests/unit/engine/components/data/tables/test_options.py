"""The keys of tables are documented."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from torchconsole.engine.components.data.tables.options import CSV


def test_every_key_is_documented() -> None:
    text = (Path(__file__).parents[6] / "docs" / "TABLES.md").read_text(encoding="utf-8")
    assert all(f"| `{field.name}` |" in text for field in fields(CSV))
