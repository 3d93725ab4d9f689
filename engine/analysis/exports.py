"""Exports the weights of a checkpoint, or its model as a graph, for other programs."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from torchconsole.engine.analysis.checkpoint_reports import (
    Weights,
    choose_weights,
    preset_of,
    read_current,
)
from torchconsole.engine.analysis.folder_export import describe_for_folder, folder_files
from torchconsole.engine.analysis.model_graph import ModelGraph, capture_graph
from torchconsole.engine.components.data.input_description import describe_inputs, why_not_described
from torchconsole.engine.components.models.weights import State
from torchconsole.engine.config.loading import validate
from torchconsole.engine.errors import CheckpointError, RunError
from torchconsole.engine.files import replacing
from torchconsole.engine.protocol.reports import ExportedGraph, ExportReport
from torchconsole.engine.training.checkpoint import data_record_in

Format = Literal["safetensors", "state_dict", "torch.export", "onnx", "folder"]


def export(checkpoint: Path, file: Path, form: Format, weights: Weights) -> ExportReport:
    """Write a checkpoint's weights or its model to `file`, for the CPU; each file is replaced atomically.

    Load a `state_dict` file with `model.load_state_dict(torch.load(file))`. A safetensors file contains a
    tied tensor once; its metadata maps the further names to the stored one, as safetensors.torch.save_model
    does. A `torch.export` or `onnx` file needs no code of the model; see `ModelGraph`. A `folder` has such a
    graph, a program that predicts with it, and a model card. All other formats but `state_dict` describe the
    training: `torchconsole.preset` (TOML), `.input`, `.normalize`, `.target_scale`, `.data`, `.step` and
    `.metrics` (JSON), in the metadata or the extra files.

    Raises:
        CheckpointError: if the checkpoint cannot be used, or its model cannot be exported in this format.
        ComponentError, TrustError: if the model cannot be built.
        RunError: if the file cannot be written.
    """
    folder, state = read_current(checkpoint)
    chosen, averaged = choose_weights(state, weights)
    tensors = {name: value for name, value in chosen.items() if isinstance(value, Tensor)}
    tied = {name: kept for name, kept in state.get("tied", {}).items() if name in tensors and kept in tensors}
    graph, written = None, [file]
    if form == "safetensors":
        once = {name: value for name, value in _contiguous(chosen, folder).items() if name not in tied}
        _write(file, lambda path: save_file(once, path, metadata={"format": "pt", **metadata(state)} | tied))
    elif form == "state_dict":
        every = _contiguous(chosen, folder)
        every |= {name: every[kept] for name, kept in tied.items()}
        _write(file, lambda path: torch.save(every, path))
    elif form == "folder":
        graph, written = _write_folder(file, state, folder, weights)
    else:
        graph = _write_graph(capture_graph(state, folder, chosen), file, form, metadata(state))
    return ExportReport(
        file=str(file),
        checkpoint=str(folder),
        step=state["progress"]["step"],
        bytes=sum(each.stat().st_size for each in written),
        tensors=len(tensors),
        params=sum(value.numel() for name, value in tensors.items() if name not in tied),
        averaged=averaged,
        tied=tied,
        normalize=_mean_std(state, "normalize"),
        target_scale=_mean_std(state, "scale_target"),
        graph=graph,
    )


def metadata(state: Mapping[str, Any]) -> dict[str, str]:
    """Return what users of a model need to know of its training; see `export`."""
    return {
        "torchconsole.preset": state["preset"],
        "torchconsole.normalize": json.dumps(_mean_std(state, "normalize")),
        "torchconsole.target_scale": json.dumps(_mean_std(state, "scale_target")),
        **_input_description(state),
        "torchconsole.data": json.dumps(_model_data(state.get("data", {}))),
        "torchconsole.step": str(state["progress"]["step"]),
        "torchconsole.metrics": json.dumps(state["metrics"]),
    }


def _contiguous(weights: State, folder: Path) -> dict[str, Tensor]:
    """Return contiguous weights. Raises CheckpointError if some are not tensors."""
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{folder}: cannot export: a layer's state contains objects other than tensors")
    return {name: value.contiguous() for name, value in weights.items()}


def _write_graph(
    graph: ModelGraph, file: Path, form: Literal["torch.export", "onnx"], described: dict[str, str]
) -> ExportedGraph:
    """Write the graph once its outputs are known to be the model's. Raises as `export` does."""
    if form == "onnx":
        content, checked = graph.to_onnx(described)
        _write(file, lambda path: path.write_bytes(content))
        return checked
    checked = graph.check()
    _write(file, lambda path: graph.save(path, described))
    return checked


def _write_folder(
    file: Path, state: dict[str, Any], folder: Path, weights: Weights
) -> tuple[ExportedGraph, list[Path]]:
    """Write a folder with a program that predicts, and return the files written; other files in it stay.

    Raises as `export` does.
    """
    described = describe_for_folder(state, preset_of(state, folder, "cpu"), folder)
    chosen, averaged = choose_weights(state, weights)
    graph = capture_graph(state, folder, chosen, predicting=True)
    checked = graph.check()
    try:
        file.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"{file}: the folder cannot be made: {error.strerror}") from error
    _write(file / "model.pt2", lambda path: graph.save(path, {}))
    files = folder_files(graph, described, state, averaged=averaged)
    for name, content in files.items():
        _write(file / name, partial(Path.write_bytes, data=content))
    return checked, [file / name for name in ("model.pt2", *files)]


def _input_description(state: Mapping[str, Any]) -> dict[str, str]:
    """Return how inputs are read and prepared, unless that cannot be described."""
    preset = validate(tomllib.loads(state["preset"]), "the preset in the checkpoint")
    record = data_record_in(dict(state))
    if record is None or why_not_described(preset.data):
        return {}
    return {"torchconsole.input": describe_inputs(preset.data, record).model_dump_json()}


def _model_data(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return what users of the model need to know of the recorded data; features are columns of a table."""
    needed = ["task", "input_shape", "classes", "outputs", *(["features"] * bool(recorded.get("features")))]
    return {key: recorded[key] for key in needed if key in recorded}


def _mean_std(state: Mapping[str, Any], key: str) -> dict[str, list[float]] | None:
    """Return the mean and std by which the run normalized inputs or targets; None if it did not."""
    recorded = tomllib.loads(state["preset"]).get("data", {}).get(key)
    return recorded if isinstance(recorded, dict) else None


def _write(file: Path, save: Callable[[Path], object]) -> None:
    try:
        with replacing(file) as temporary:
            save(temporary)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch reports a full disk as a RuntimeError
        raise RunError(f"{file}: cannot be written: {error}") from error
