"""Exports a model as a folder that predicts without torchconsole: graph, inputs, script and model card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torchconsole.engine.analysis.checkpoint_reports import recorded_data
from torchconsole.engine.analysis.model_card import write_card
from torchconsole.engine.analysis.model_graph import ModelGraph
from torchconsole.engine.components.data.input_description import (
    InputDescription,
    describe_inputs,
    why_not_described,
)
from torchconsole.engine.components.data.sources import tables
from torchconsole.engine.components.data.tables.options import WHITESPACE
from torchconsole.engine.config.catalogue import DETERMINISTIC_TRANSFORMS
from torchconsole.engine.config.data_schema import TransformConfig
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import CheckpointError

SCRIPTS = Path(__file__).with_name("standalone")
"""The programs of the folder, which import nothing of torchconsole."""

CARRIED_TRANSFORMS = DETERMINISTIC_TRANSFORMS - {"LinearTransformation", "PILToTensor", "ToPILImage"}

CARRIED_OPTIONS = {"target", "features", "drop", "categorical", "missing", "sep"}
"""Keys of a CSV file that reading.py knows, or that do not matter for reading inputs."""

CARRIED_TEXT_OPTIONS = {
    *("target", "drop", "sep", "missing", "text", "tokenizer", "max_length", "vocab_size", "min_frequency"),
    *("lowercase", "vocabulary"),
}


def describe_for_folder(state: Mapping[str, Any], preset: Preset, folder: Path) -> InputDescription:
    """Return how inputs are read, from the `state` of the checkpoint in `folder`.

    Raises CheckpointError that names what predict.py cannot do.
    """
    record = recorded_data(state, folder)
    reasons = [why_not_described(preset.data)]
    if not reasons[0]:
        described = describe_inputs(preset.data, record)
        reasons = list(_not_carried(described))
        if not reasons:
            return described
    raise CheckpointError(
        f"--format folder: predict.py cannot prepare the inputs of this run: {reasons[0]}; export the model "
        "with --format torch.export, and prepare its inputs in your own program"
    )


def folder_files(
    graph: ModelGraph, described: InputDescription, state: Mapping[str, Any], *, averaged: bool
) -> dict[str, bytes]:
    """Return the names and contents of the folder's files, but for the graph."""
    about = described.model_dump(mode="json") | {"values": value_names(described)}
    return {
        "input.json": json.dumps(about, indent=2).encode(),
        "predict.py": (SCRIPTS / "predict.py").read_bytes(),
        "reading.py": (SCRIPTS / "reading.py").read_bytes(),
        "README.md": write_card(graph, described, state, averaged=averaged).encode(),
    }


def value_names(described: InputDescription) -> list[str]:
    """Return the names of the values of a regression; none for classes."""
    names = described.value_names(described.outputs)
    function = described.target_transform
    return [f"{function}({name})" for name in names] if function else names


def _not_carried(described: InputDescription) -> Iterator[str]:
    """Yield what the scripts of the folder cannot do."""
    for number, step in enumerate(described.transforms):
        if why := _transform_not_carried(step, described.kind):
            yield f"data.transforms.val.{number}: {step.name} {why}"
    if described.source in ("DatasetFolder", "Parquet", "Feather"):
        yield f"data.name: {described.source} is not read"
    if described.source in tables.OPTIONS:
        yield from _options_not_carried(described)
    elif described.kind == "texts" and described.arguments.get("encoding", "utf-8") != "utf-8":
        yield "data.encoding: only UTF-8 is read"
    if described.kind == "texts" and str(described.arguments.get("tokenizer", "")).endswith(".json"):
        yield "data.tokenizer: a tokenizer of your own is not carried"
    for feature in described.features:
        if feature.kind == "date":
            yield f"data.dates: column {feature.name!r} has dates"


def _transform_not_carried(step: TransformConfig, kind: str) -> str:
    if kind in ("table", "texts"):
        return "is not for images"
    if step.name not in CARRIED_TRANSFORMS:
        return "is not carried"
    return ""


def _options_not_carried(described: InputDescription) -> Iterator[str]:
    """Yield the keys of a table that are set to something that reading.py does not know."""
    known = CARRIED_TEXT_OPTIONS if described.kind == "texts" else CARRIED_OPTIONS
    defaults = {field.name: field.default for field in dataclasses.fields(tables.OPTIONS["CSV"])}
    for key, value in described.arguments.items():
        if (key not in known and value != defaults.get(key)) or (key, value) == ("sep", WHITESPACE):
            yield f"data.{key} is not carried"
    if described.arguments.get("missing") == "mean" and not described.fills and described.kind == "table":
        yield "data.missing: the checkpoint is of an older version, and does not say what fills gaps"
