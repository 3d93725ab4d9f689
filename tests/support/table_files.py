"""Writes small CSV files, and says what their columns became or why they are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.data_files import load
from torchconsole.engine.components.data import DataModule
from torchconsole.engine.errors import ComponentError, DataError

ROWS = 40


def write(
    folder: Path, header: str, line: Callable[[int], str], count: int = ROWS, end: str = ""
) -> dict[str, Any]:
    (folder / "t.csv").write_text("\n".join([header, *map(line, range(count)), end]))
    return {"root": str(folder / "t.csv"), "target": "y"}


def refusal(keys: dict[str, Any], source: str = "CSV") -> str:
    with pytest.raises((DataError, ComponentError)) as caught:
        load(source, **keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def roles(data: DataModule) -> dict[str, tuple[str, str]]:
    return {column.name: (column.role, column.detail) for column in data.columns}
