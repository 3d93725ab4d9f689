"""The files and functions of the product are small enough to be read (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import torchconsole

MOST_FILE, MOST_FUNCTION = 400, 60
"""Lines."""

FOLDERS = [Path(torchconsole.__file__).parents[2] / name for name in ("engine", "tui")]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_files_and_functions_have_a_limit(folder: Path) -> None:
    too_long = []
    files = sorted(folder.rglob("*.py"))
    assert files
    for file in files:
        source = file.read_text(encoding="utf-8")
        if (lines := source.count("\n")) > MOST_FILE:
            too_long.append(f"{file}: {lines} lines")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if (lines := (node.end_lineno or 0) - node.lineno + 1) > MOST_FUNCTION:
                too_long.append(f"{file}:{node.lineno}: {node.name} has {lines} lines")
    assert not too_long
