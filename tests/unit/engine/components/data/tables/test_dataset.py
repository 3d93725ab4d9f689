"""The rows of a table: categories become zeros and ones at the end, and only if they fit into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.data_files import all_of, load
from torchconsole.engine.components.data.measuring import MeanStd
from torchconsole.engine.components.data.tables import dataset as dataset_module
from torchconsole.engine.components.data.tables.dataset import TableDataset
from torchconsole.engine.errors import DataError

ROWS = 60


def rows_of_two_columns() -> TableDataset:
    """Numbers of 1e9 and more, and three categories, of which the last row has none."""
    return TableDataset(
        torch.tensor([[1e9], [1e9 + 1], [1e9 + 2], [1e9 + 3]], dtype=torch.float64),
        torch.arange(4),
        codes=(torch.tensor([0, 2, 1, -1], dtype=torch.int32),),
        sizes=(3,),
    )


def test_numbers_are_normalized_in_float64_and_categories_become_zeros_and_ones() -> None:
    scaling = MeanStd(torch.tensor([1e9, 0, 0, 0]).double(), torch.tensor([2.0, 1, 1, 1]).double())
    expanded = rows_of_two_columns().expanded(scaling)
    assert expanded.inputs.dtype == torch.float32
    assert expanded.inputs.tolist() == [[0, 1, 0, 0], [0.5, 0, 0, 1], [1, 0, 1, 0], [1.5, 0, 0, 0]]


def test_categories_that_other_rows_do_not_have_are_hidden() -> None:
    rows = rows_of_two_columns()
    seen = rows.subset(torch.tensor([3, 0])).seen()
    assert [each.tolist() for each in seen] == [[True, False, False]]
    hidden = rows.subset(torch.tensor([1, 0])).keep_categories(seen)
    assert hidden.expanded(None).inputs[:, 1:].tolist() == [[0, 0, 0], [1, 0, 0]]


def write(folder: Path, header: str, row: str) -> dict[str, Any]:
    lines = [row.format(n, n % 2, n // 3, n // 4, n * 7 % 59) for n in range(ROWS)]
    (folder / "t.csv").write_text("\n".join([header, *lines]))
    return {"root": str(folder / "t.csv"), "target": "y"}


def test_rows_that_do_not_fit_into_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = write(tmp_path, "a,y,city,name,b", "{4}.5,{1},c{2},n{3},{4}")
    keys |= {"categorical": ["city", "name"], "drop": ["b"]}
    assert all_of(load("CSV", **keys).train)[0].shape[1] == 1 + 20 + 15
    monkeypatch.setattr(dataset_module, "free_host_memory", lambda: ROWS * 36 * 4)
    with pytest.raises(DataError) as caught:
        load("CSV", **keys | {"categorical": ["city", "name"]})
    assert "data.features: 60 rows of t.csv with 36 inputs take " in str(caught.value)
    assert "the columns with the most categories are 'city' (20), 'name' (15): set data.drop = " in str(
        caught.value
    )


def test_the_remedy_keeps_what_is_dropped_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = write(tmp_path, "a,y,city,b", "{4}.5,{1},c{2},{4}")
    monkeypatch.setattr(dataset_module, "free_host_memory", lambda: 1)
    with pytest.raises(DataError, match=r'set data\.drop = \["b", "city"\] to leave them out'):
        load("CSV", drop=["b"], **keys)
    with pytest.raises(DataError, match=r"leave out columns with data\.drop, or use fewer rows"):
        load("CSV", drop=["b", "city"], **keys)
    with pytest.raises(DataError, match=r"are 'city' \(20\): remove them from data\.features"):
        load("CSV", features=["a", "city"], **keys)
