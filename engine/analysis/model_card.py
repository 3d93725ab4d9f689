"""A model card in Markdown: what a model is for, its figures, its data, its settings and versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import tomlkit
import torch

from torchconsole.engine.components.data.input_description import InputDescription
from torchconsole.engine.training.checkpoint import data_record_in

if TYPE_CHECKING:
    from torchconsole.engine.analysis.model_graph import ModelGraph

MAX_CLASSES = 50
"""Number of classes, or of categories of a column, that are named."""

FILES = {
    "images": "image files, or folders of them",
    "table": "CSV files in UTF-8 with a header and the columns below",
    "arrays": "files of torch.save, or .npz files if NumPy is installed",
    "texts": "text files in UTF-8",
}


def write_card(
    graph: ModelGraph, described: InputDescription, state: Mapping[str, Any], *, averaged: bool
) -> str:
    """Return the model card of a folder with predict.py."""
    preset = tomlkit.parse(state["preset"]).unwrap()
    sections = [
        _introduction(preset, described, graph, averaged=averaged),
        _use(described),
        _figures(state),
        _data(preset, described, state),
        _settings(preset),
        _versions(state, graph),
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _introduction(
    preset: dict[str, Any], described: InputDescription, graph: ModelGraph, *, averaged: bool
) -> Iterator[str]:
    params = sum(each.numel() for each in graph.model.parameters())
    shape = " x ".join(map(str, described.input_shape))
    yield f"# {_inline(preset.get('title') or preset['model']['name'])}"
    yield ""
    yield (
        f"`{preset['model']['name']}` with {params:,} parameters"
        f"{', averaged over the training (EMA)' if averaged else ''}. Task: {described.task}. One input has "
        f"the shape {shape}."
    )
    if described.classes:
        yield f"Classes: {_listed(described.classes)}."


def _use(described: InputDescription) -> Iterator[str]:
    needed = ["PyTorch"]
    needed += ["Pillow"] if described.kind == "images" else []
    needed += ["torchvision"] if described.transforms else []
    yield "## Use"
    yield ""
    yield "    python predict.py FILE_OR_FOLDER... > predictions.csv"
    yield ""
    is_table = described.kind == "texts" and described.source == "CSV"
    files = (
        f"CSV files with the column `{described.arguments.get('text')}`"
        if is_table
        else FILES[described.kind]
    )
    yield (
        f"It reads {files}, and needs {', '.join(needed)}; neither torchconsole nor the code of the model. "
        "For each input it prints the file, the row (from 1), and "
        + ("the most probable class with its probability." if described.classes else "the predicted values.")
    )
    if described.target_transform:
        yield f"The values are `{described.target_transform}` of the targets."
    yield ""
    gives = "probabilities (N, classes)" if described.classes else "values (N, targets), in the targets' unit"
    yield f"`model.pt2` takes prepared inputs (N, ...), and gives {gives}:"
    yield ""
    yield "```python"
    yield 'model = torch.export.load("model.pt2").module()'
    yield "```"
    yield ""
    yield "`input.json` says how an input is prepared, `reading.py` does it."


def _figures(state: Mapping[str, Any]) -> Iterator[str]:
    progress = state["progress"]
    yield "## Figures"
    yield ""
    yield f"Measured by the run's evaluation at step {progress['step']:,}, epoch {progress['epoch']:,}:"
    yield ""
    plain = {name: value for name, value in state["metrics"].items() if isinstance(value, int | float)}
    yield from _table(("metric", "value"), ((name, f"{value:.6g}") for name, value in plain.items()))


def _data(preset: dict[str, Any], described: InputDescription, state: Mapping[str, Any]) -> Iterator[str]:
    record = data_record_in(dict(state))
    yield "## Data"
    yield ""
    yield f"Source: `{preset['data']['name']}`, as it was before a validation set was split off:"
    yield ""
    sets = record.sets if record else {}
    yield from _table(("set", "samples"), ((name, f"{each.samples:,}") for name, each in sets.items()))
    if described.features:
        yield ""
        rows = (
            (each.name, each.kind, _listed([name for name in each.categories if name not in each.unseen]))
            for each in described.features
        )
        yield from _table(("column", "kind", "categories"), rows)


def _settings(preset: dict[str, Any]) -> Iterator[str]:
    """Yield the preset, without what is in input.json and without the place of the data."""
    data = {
        key: value for key, value in preset["data"].items() if key not in ("normalize", "root", "vocabulary")
    }
    yield "## Settings"
    yield ""
    yield "```toml"
    yield tomlkit.dumps(preset | {"data": data}).strip()
    yield "```"


def _versions(state: Mapping[str, Any], graph: ModelGraph) -> Iterator[str]:
    made_with = state.get("made_with", {})
    rows = {
        "trained with torch": made_with.get("torch", "unknown"),
        "on": made_with.get("device", "unknown"),
        "precision": made_with.get("precision", "unknown"),
        "exported with torch": str(torch.__version__),
        "torchconsole": version("torchconsole"),
    }
    yield "## Versions"
    yield ""
    yield from _table(("what", "version"), rows.items())
    yield from (f"\nNote: {note}." for note in graph.notes)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield "|---" * len(heading) + "|"
    yield from (f"| {' | '.join(map(_inline, row))} |" for row in rows)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_CLASSES:,} more" if len(names) > MAX_CLASSES else ""
    return ", ".join(map(_inline, names[:MAX_CLASSES])) + more


def _inline(text: str) -> str:
    """Return a text of any origin as one line of Markdown."""
    return " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
