"""Computes features: the outputs of layers for a user's inputs, written to an .npz or a Parquet file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchconsole.engine.analysis.checkpoint_reports import Weights
from torchconsole.engine.analysis.trained_model import TrainedModel, open_model, unread
from torchconsole.engine.components.data.input_reading import Input
from torchconsole.engine.components.outputs import first_tensor
from torchconsole.engine.errors import ComponentError, DataError, RunError
from torchconsole.engine.files import replacing
from torchconsole.engine.protocol.model_reports import FeatureReport, LayerOutput, LayerReport, UnreadInput
from torchconsole.engine.text import did_you_mean

PATHS, ROWS = "paths", "rows"
"""The arrays or columns that say which input each row of the features is for."""

RESERVED = {"file", "allow_pickle"}
"""Names that an array cannot have in an .npz file: they are parameters of numpy.savez."""

PARQUET = ".parquet"

Place = tuple[str, int | None]
"""The file of an input and its row, from 1; None for a whole file."""

Features = dict[str, list[Tensor]]
"""Layer -> its output for each input, float32 or integers on the CPU, without the axis of the batch."""


def list_layers(checkpoint: Path, weights: Weights, device: str | None) -> LayerReport:
    """Return the layers that a forward pass calls, in the order of the model.

    The input is one sample of zeros, or of a text of an unknown word, of the shape in training. Raises what
    `open_model` raises, and DataError if the model does not take that input.
    """
    model = open_model(checkpoint, weights, device)
    spec = model.reader.spec
    example = torch.full((1, *spec.input_shape), int(spec.vocab_size is not None), dtype=spec.input_dtype)
    modules = dict(model.module.named_modules())
    with torch.inference_mode(), _recorded(model.module, [name for name in modules if name]) as recorded:
        model(example.to(model.device))
    layers = [
        LayerOutput(
            name=name,
            type=type(modules[name]).__name__,
            shape=list(output.shape[1:]) if output is not None and output.shape[:1] == (1,) else None,
            calls=calls,
        )
        for name in modules
        if name in recorded
        for output, calls in [recorded[name]]
    ]
    return LayerReport(
        checkpoint=model.source, step=model.step, epoch=model.epoch, averaged=model.averaged, layers=layers
    )


def compute_features(
    checkpoint: Path,
    inputs: Sequence[str],
    layers: Sequence[str],
    file: Path,
    weights: Weights,
    device: str | None = None,
    *,
    batch_size: int = 64,
) -> FeatureReport:
    """Write the outputs of `layers` for all `inputs` to `file`, in the order of the inputs.

    It is an .npz file of arrays (N, ...), or a Parquet file with a list column for each layer. An input that
    cannot be used, or whose outputs have another shape than those of the first one, is reported with the
    reason. No file is written if no input can be used.

    Raises:
        ComponentError: for a layer that does not exist, is not called, or has no output for each input.
        RunError: if the file cannot be written.
    """
    model = open_model(checkpoint, weights, device)
    _check_names(layers, model, file)
    failed: list[UnreadInput] = []
    found: list[Place] = []
    features: Features = {name: [] for name in layers}
    calls: Counter[str] = Counter()
    for batch in model.batches(inputs, batch_size, failed):
        try:
            outputs, counted = _outputs(model, batch, layers)
            _check_shapes(features, outputs)
        except DataError as error:
            failed += [unread(place, error) for place in dict(batch)]
            continue
        calls = counted
        found += [(path, each.row) for path, each in batch]  # without the inputs, which take memory
        for name, output in outputs.items():
            features[name] += output
    if found:
        _write(file, features, found)
    return FeatureReport(
        checkpoint=model.source,
        step=model.step,
        epoch=model.epoch,
        averaged=model.averaged,
        layers=[
            LayerOutput(
                name=name,
                type=type(model.module.get_submodule(name)).__name__,
                shape=list(features[name][0].shape) if found else None,
                calls=calls[name],
            )
            for name in layers
        ],
        file=str(file) if found else "",
        device=str(model.device),
        inputs=len(found),
        failed=failed,
    )


def _check_names(layers: Sequence[str], model: TrainedModel, file: Path) -> None:
    names = [name for name, _ in model.module.named_modules() if name]
    for name in layers:
        if name not in names:
            raise ComponentError(
                f"--layer {name}: the model has no such layer{did_you_mean(name, names)}; --list shows all"
            )
    if taken := {PATHS, ROWS} & set(layers):
        raise ComponentError(f"--layer {min(taken)}: the file has the inputs' {min(taken)} under this name")
    if file.suffix.lower() != PARQUET and (refused := RESERVED & set(layers)):
        raise ComponentError(
            f"--layer {min(refused)}: an .npz file cannot have an array of this name; write a .parquet file"
        )


@torch.inference_mode()
def _outputs(
    model: TrainedModel, batch: Sequence[tuple[str, Input]], layers: Sequence[str]
) -> tuple[Mapping[str, Tensor], Counter[str]]:
    """Return the outputs (B, ...) of a batch on the CPU, and how often each layer was called."""
    with _recorded(model.module, layers) as recorded:
        model(model.stack(batch))
    outputs: dict[str, Tensor] = {}
    for name in layers:
        output, _ = recorded.get(name, (None, 0))
        if name not in recorded:
            raise ComponentError(
                f"--layer {name}: the forward pass does not call it; --list shows what it calls"
            )
        if output is None:
            raise ComponentError(f"--layer {name}: its output has no tensor; choose another layer")
        if output.shape[:1] != (len(batch),):
            raise ComponentError(
                f"--layer {name}: its output has shape {tuple(output.shape)}, without a row for each of the "
                f"{len(batch)} inputs of a batch; choose another layer"
            )
        outputs[name] = output.float().cpu() if output.is_floating_point() else output.cpu()
    return outputs, Counter({name: calls for name, (_, calls) in recorded.items()})


def _check_shapes(features: Features, outputs: Mapping[str, Tensor]) -> None:
    """Raise DataError for outputs of another shape than those before them."""
    for name, output in outputs.items():
        if features[name] and (expected := features[name][0].shape) != (shape := output.shape[1:]):
            raise DataError(
                f"the output of {name} has shape {tuple(shape)}, but {tuple(expected)} before; "
                "give inputs of one size, or choose a layer after the pooling"
            )


@contextmanager
def _recorded(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, tuple[Tensor | None, int]]]:
    """Record a forward pass: a copy of the output of each layer's last call, and the number of its calls.

    An output is a tensor, or the first one in a tuple, list or dict; None if there is none.
    """
    recorded: dict[str, tuple[Tensor | None, int]] = {}

    def hook_for(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            first = first_tensor(output)
            _, calls = recorded.get(name, (None, 0))
            # A copy, since layers such as ReLU(inplace=True) change the output of the one before.
            recorded[name] = (None if first is None else first.clone(), calls + 1)

        return hook

    handles = [module.get_submodule(name).register_forward_hook(hook_for(name)) for name in names]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _write(file: Path, features: Features, places: Sequence[Place]) -> None:
    arrays = {name: torch.stack(rows).numpy() for name, rows in features.items()}
    paths = [path for path, _ in places]
    rows = [row for _, row in places]
    write = _write_parquet if file.suffix.lower() == PARQUET else _write_npz
    try:
        with replacing(file) as temporary:
            write(temporary, arrays, paths, rows)
    except OSError as error:
        raise RunError(f"{file}: cannot be written: {error.strerror}") from error
    except UnicodeEncodeError as error:
        raise RunError(f"{file}: a file name cannot be written as UTF-8; rename it") from error


def _write_npz(
    file: Path, arrays: Mapping[str, np.ndarray], paths: Sequence[str], rows: Sequence[int | None]
) -> None:
    """Write the arrays, and beside them `paths` and `rows` (N,); a row of 0 is a whole file."""
    with file.open("wb") as stream:
        places = {PATHS: np.array(paths), ROWS: np.array([row or 0 for row in rows])}
        np.savez(stream, **{**places, **arrays})  # type: ignore[arg-type]  # `file` is in front of the keywords


def _write_parquet(
    file: Path, arrays: Mapping[str, np.ndarray], paths: Sequence[str], rows: Sequence[int | None]
) -> None:
    """Write a row for each input. Outputs are flattened; their shape is in the metadata of their column."""
    import pyarrow
    from pyarrow import parquet

    columns = [pyarrow.array(paths, pyarrow.string()), pyarrow.array(rows, pyarrow.int64())]
    fields = [pyarrow.field(PATHS, pyarrow.string()), pyarrow.field(ROWS, pyarrow.int64())]
    for name, array in arrays.items():
        width = int(np.prod(array.shape[1:]))
        column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(array.reshape(-1)), width)
        columns.append(column)
        fields.append(pyarrow.field(name, column.type, metadata={"shape": str(list(array.shape[1:]))}))
    parquet.write_table(pyarrow.Table.from_arrays(columns, schema=pyarrow.schema(fields)), file)
