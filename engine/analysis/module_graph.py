"""Draws the modules of a model as a graph, with torchview and graphviz (the extra `graph`)."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from torch import Tensor, nn

from torchconsole.engine.errors import ComponentError, RunError
from torchconsole.engine.files import replacing
from torchconsole.engine.protocol.reports import GraphReport
from torchconsole.engine.text import error_summary

SOURCE_SUFFIXES = (".dot", ".gv")


def draw_modules(model: nn.Module, inputs: Tensor, file: Path, depth: int | None) -> GraphReport:
    """Draw the modules that a batch `inputs` (B, ...) passes through, down to `depth` levels (None: all).

    The suffix of `file` is the format: text for `.dot` and `.gv`, else one that the program `dot` writes.
    The model is not changed. Raises ComponentError if its forward pass fails, RunError
    if the file cannot be written.
    """
    drawing = _trace(model, inputs, math.inf if depth is None else depth)
    form = file.suffix.lower()
    try:
        content = drawing.source.encode() if form in SOURCE_SUFFIXES else drawing.pipe(form.removeprefix("."))
        with replacing(file) as temporary:
            temporary.write_bytes(content)
    except CalledProcessError as error:
        raise RunError(f"{file}: dot failed: {error.stderr.decode(errors='replace').strip()}") from error
    except OSError as error:
        raise RunError(f"{file}: cannot be written: {error}") from error
    return GraphReport(file=str(file), bytes=len(content))


def _trace(model: nn.Module, inputs: Tensor, depth: float) -> Any:
    """Return a graphviz.Digraph. The meta device computes nothing, but some models do not support it."""
    from torchview import draw_graph

    for device in ("meta", "cpu"):
        try:
            moved = copy.deepcopy(model).to(device)
            copied = inputs.detach().to(device, copy=True)
            graph = draw_graph(moved, copied, device=device, depth=depth, expand_nested=True)
        except RuntimeError as error:  # torchview's own, whatever the model raises
            problem = error.__cause__ or error
        else:
            return graph.visual_graph
    raise ComponentError(
        f"model.name: the modules cannot be drawn, because the forward pass of {type(model).__name__} fails: "
        f"{error_summary(problem)}"
    )
