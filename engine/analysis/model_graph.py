"""A trained model as a graph of torch.export, which runs without the code of the model: for .pt2 and ONNX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from torchconsole.engine.analysis.checkpoint_reports import preset_of, recorded_data
from torchconsole.engine.analysis.predictions import output_kind, read_outputs
from torchconsole.engine.components.data.data_record import DataRecord
from torchconsole.engine.components.data.input_description import describe_inputs, why_not_described
from torchconsole.engine.components.data.input_reading import InputReader
from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.models.weights import State
from torchconsole.engine.components.outputs import OutputKind
from torchconsole.engine.components.user_errors import describe_error
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import CheckpointError, TorchconsoleError
from torchconsole.engine.protocol.reports import ExportedGraph
from torchconsole.engine.system_limits import explain_limit
from torchconsole.engine.training.elements import separate_buffers
from torchconsole.engine.training.failures import is_out_of_memory
from torchconsole.engine.training.parts import without_weights_file
from torchconsole.engine.training.train_state import load_weights

ONNX_BYTES = 2**31
"""Size of a file that protobuf, the format of ONNX, allows."""

TOLERANCE = 1e-3
"""Difference, relative to the largest output, up to which a graph has the outputs of its model."""

COUNTS = (1, 3)
"""Sizes of the batches by which they are compared."""

ONLY_WEIGHTS = "export its weights with --format safetensors instead"


@dataclass(frozen=True)
class ModelGraph:
    """A model in eval mode on the CPU in float32, and its graph for batches of any size."""

    model: nn.Module
    program: ExportedProgram
    spec: DataSpec
    form: str
    """What the outputs are, as `loss.outputs` calls it; or probabilities or values of a predicting model."""
    notes: list[str]

    def check(self) -> ExportedGraph:
        """Compare the outputs of the graph with the model's. Raises CheckpointError if they differ."""
        return self._described(f"torch {torch.__version__}", self.program.module())

    def save(self, path: Path, extra: dict[str, str]) -> None:
        """Write a .pt2 file with extra files, names -> text. Raises OSError, RuntimeError."""
        with path.open("wb") as file:
            torch.export.save(self.program, file, extra_files=dict(extra))

    def to_onnx(self, metadata: dict[str, str]) -> tuple[bytes, ExportedGraph]:
        """Return the content of an ONNX file, whose outputs are compared if onnxruntime is installed.

        Raises TorchconsoleError if the extra is not installed, CheckpointError for a model that ONNX cannot
        express or whose outputs differ.
        """
        _require_onnx(self.model)
        try:
            converted: Any = torch.onnx.export(
                self.program,
                (example_inputs(self.spec, 2),),
                dynamo=True,
                verbose=False,
                input_names=["inputs"],
                output_names=["outputs"],
                dynamic_shapes=({0: "batch"},),
            )
        except Exception as error:
            raise _refusal(error, "cannot be written as ONNX", "use --format torch.export instead") from error
        converted.model.metadata_props.update(metadata)
        content: bytes = converted.model_proto.SerializeToString()
        if find_spec("onnxruntime") is None:
            return content, self._described("", None)
        return content, self._described(f"onnxruntime {version('onnxruntime')}", _onnxruntime(content))

    def _described(self, checked_by: str, run: Callable[[Tensor], Tensor] | None) -> ExportedGraph:
        with torch.no_grad():
            outputs = self.model(example_inputs(self.spec, 1))
            difference = None if run is None else self._difference(run, checked_by)
        return ExportedGraph(
            inputs=_shown("inputs", self.spec.input_dtype, self.spec.input_shape),
            outputs=_shown(self.form, outputs.dtype, tuple(outputs.shape[1:])),
            checked_by=checked_by,
            difference=difference,
            notes=self.notes,
        )

    def _difference(self, run: Callable[[Tensor], Tensor], checked_by: str) -> float:
        largest = 0.0
        for count in COUNTS:
            inputs = example_inputs(self.spec, count)
            expected, found = self.model(inputs), run(inputs)
            if found.shape != expected.shape:
                raise CheckpointError(
                    f"the exported model has outputs of shape {tuple(found.shape)} with {checked_by}, and "
                    f"the model of {tuple(expected.shape)}: a layer is exported wrongly; {ONLY_WEIGHTS}"
                )
            limit = TOLERANCE * max(1.0, float(expected.nan_to_num(posinf=0, neginf=0).abs().max()))
            different = (found - expected).abs().nan_to_num(posinf=0, neginf=0)
            largest = max(largest, float(different.max()))
            if not torch.isclose(found, expected, rtol=0, atol=limit, equal_nan=True).all():
                raise CheckpointError(
                    f"the exported model has other outputs than the model, by up to {largest:.3g} with "
                    f"{checked_by}: its forward may draw random numbers or keep a state in eval mode; "
                    f"{ONLY_WEIGHTS}"
                )
        return largest


class PredictingModel(nn.Module):
    """A model that gives probabilities (B, C), or values (B, K) in the targets' unit."""

    def __init__(self, model: nn.Module, spec: DataSpec, kind: OutputKind) -> None:
        super().__init__()
        self.model = model
        self._spec, self._kind = spec, kind

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, ...) -> (B, C) or (B, K)."""
        return read_outputs(self.model(inputs), inputs, self._spec, self._kind)


def capture_graph(
    state: dict[str, Any], folder: Path, weights: State, *, predicting: bool = False
) -> ModelGraph:
    """Build the model of a checkpoint's `state`, read from `folder`, with `weights`, and capture its graph.

    The graph gives the outputs of the model, or with `predicting` what `PredictingModel` does. It has no
    data-dependent branches, the batch has any size, and an input the shape that it had in training. Raises
    CheckpointError if that is not possible, and as `build_model` does.
    """
    preset = preset_of(state, folder, "cpu")
    record = recorded_data(state, folder)
    spec = _spec(preset, record)
    model = build_model(without_weights_file(preset.model), spec, UserCode.of(preset))
    separate_buffers(model)
    load_weights(model, weights)
    form = state.get("data", {}).get("outputs", "outputs")
    if predicting:
        model = PredictingModel(model, spec, output_kind(preset, spec))
        form = "values" if spec.task == "regression" else "probabilities"
    model.eval()
    trained_in = state.get("made_with", {}).get("precision", "fp32")
    notes = [] if trained_in == "fp32" else [f"the run computed in {trained_in}, the exported model in fp32"]
    return ModelGraph(
        model=model,
        program=capture(model, spec),
        spec=spec,
        form=form,
        notes=notes,
    )


def example_inputs(spec: DataSpec, count: int) -> Tensor:
    """Return random inputs (count, *input_shape), the same ones each time; indices are 0 but for tokens."""
    shape, generator = (count, *spec.input_shape), torch.Generator().manual_seed(0)
    if spec.input_dtype == torch.int64:
        return torch.randint(spec.vocab_size or 1, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def _spec(preset: Preset, record: DataRecord) -> DataSpec:
    """Return what the model must be built for, also for data that cannot be described."""
    if why_not_described(preset.data):
        spec = DataSpec(
            task=cast(TaskType, record.task),
            input_shape=tuple(record.input_shape),
            num_outputs=record.num_outputs,
            class_names=record.classes,
        )
    else:
        spec = InputReader(describe_inputs(preset.data, record), UserCode.of(preset)).spec
    dtypes = {"float32": torch.float32, "int64": torch.int64}
    return replace(spec, input_dtype=dtypes.get(record.input_dtype, spec.input_dtype))


def capture(model: nn.Module, spec: DataSpec) -> ExportedProgram:
    """Return the graph of a model, without paths of this machine. Raises CheckpointError if it has none."""
    try:
        with torch.no_grad():
            program = torch.export.export(
                model,
                (example_inputs(spec, 2),),
                dynamic_shapes=({0: Dim("batch")},),
                strict=False,
            )
    except Exception as error:
        advice = (
            "its forward must work for batches of any size (x.shape[0] instead of a number or len(x)) and "
            f"must not branch on the values of tensors; {ONLY_WEIGHTS}"
        )
        raise _refusal(error, "cannot be exported as a graph", advice) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _refusal(error: Exception, what: str, advice: str) -> CheckpointError:
    """Return what to raise for an error of torch or of user code. Used up memory is raised as it is."""
    if is_out_of_memory(error) or explain_limit(error):
        raise error
    reason = describe_error(error).split(" For more information", 1)[0].rstrip(".")
    return CheckpointError(f"the model {what}: {reason}; {advice}")


def _require_onnx(model: nn.Module) -> None:
    """Raise TorchconsoleError without the extra, CheckpointError for a model that is too large."""
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise TorchconsoleError(f"--format onnx requires {missing[0]}: pip install 'torchconsole[onnx]'")
    size = sum(each.nbytes for each in model.state_dict().values() if isinstance(each, Tensor))
    if size >= ONNX_BYTES:
        raise CheckpointError(
            f"the model has {size / 2**30:.1f} GiB of weights, but an ONNX file can have 2 GiB; use --format "
            "torch.export"
        )


def _onnxruntime(content: bytes) -> Callable[[Tensor], Tensor]:
    """Return a function that runs an ONNX file with onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(inputs: Tensor) -> Tensor:
        [outputs] = session.run(None, {"inputs": inputs.numpy()})
        return torch.from_numpy(outputs)

    return run


def _shown(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    sizes = ", ".join(["N", *map(str, shape)])
    return f"{name}: {str(dtype).removeprefix('torch.')} ({sizes})"
