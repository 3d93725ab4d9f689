"""Prints reports as JSON for the console and the command line, which never import torch.

Usage: python -P -m torchconsole.engine.analysis.report REPORT, where REPORT is one of

    summary|lr|initial-values PRESET_FILE
    checkpoint-values CHECKPOINT
    extended-lr PRESET_FILE RUN_FOLDER
    check PRESET_FILE [overfit]
    graph PRESET_FILE FILE [DEPTH]
    samples PRESET_FILE
    find-lr PRESET_FILE STEPS [CHECKPOINT]
    find-batch|find-workers PRESET_FILE
    profile PRESET_FILE STEPS TRACE_FILE|"" [CHECKPOINT]
    device
    catalogue
    evaluate CHECKPOINT PART WEIGHTS [DEVICE]
    evaluate-on CHECKPOINT FILE|FOLDER WEIGHTS DEVICE|""
    export CHECKPOINT FILE FORMAT WEIGHTS
    predict CHECKPOINT WEIGHTS DEVICE|"" TOP BATCH_SIZE flips|"" pictures|"" INPUT...
    layers CHECKPOINT WEIGHTS DEVICE|""
    features CHECKPOINT WEIGHTS DEVICE|"" BATCH_SIZE FILE LAYER[,LAYER] INPUT...

The report is the last line on stdout. Slow phases are printed before it as PhaseChanged events. If the user's
input is wrong, the exit status is 2 and the last line is a JSON list of error messages. Nothing else is
printed on stdout: what user code prints goes to stderr.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import nn

from torchconsole.engine.analysis.check_report import check_report, print_phase
from torchconsole.engine.analysis.checkpoint_reports import Part, Weights, evaluate_checkpoint
from torchconsole.engine.analysis.exports import Format, export
from torchconsole.engine.analysis.find_batch import batch_search_report
from torchconsole.engine.analysis.find_lr import lr_search_report
from torchconsole.engine.analysis.find_workers import loader_search_report
from torchconsole.engine.analysis.profiling import profile_report
from torchconsole.engine.analysis.report_channel import keep_stdout, write_line
from torchconsole.engine.analysis.samples import sample_report
from torchconsole.engine.analysis.summary import summarize
from torchconsole.engine.analysis.tensor_values import checkpoint_values_report, initial_values_report
from torchconsole.engine.components.data import DataBuilder, open_data
from torchconsole.engine.components.devices import describe_device
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.parameters import freeze
from torchconsole.engine.components.ranks import planned_ranks
from torchconsole.engine.components.user_code import describe_exit
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.protocol.json_text import dump_json
from torchconsole.engine.protocol.reports import LearningRateCurve
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.training.failures import named_failures, within_memory
from torchconsole.engine.training.lr_forecast import describe_units, preview_lr
from torchconsole.engine.training.setup import build_optimization
from torchconsole.engine.user_folders import name_user


def summary_report(preset_file: str) -> BaseModel:
    """Return the layer table of the preset's model."""
    preset = read_preset(Path(preset_file))
    opened, model = _open(preset, UserCode.of(preset), print_phase)
    return summarize(model, opened.example.unsqueeze(0))


def graph_report(preset_file: str, file: str, depth: str | None = None) -> BaseModel:
    """Draw the modules of the preset's model to a file."""
    from torchconsole.engine.analysis.module_graph import draw_modules

    preset = read_preset(Path(preset_file))
    opened, model = _open(preset, UserCode.of(preset), print_phase)
    return draw_modules(model, opened.example.unsqueeze(0), Path(file), int(depth) if depth else None)


def lr_report(preset_file: str) -> BaseModel:
    """Return the lr curve of the preset's schedule."""
    return lr_curve(read_preset(Path(preset_file)))


def lr_curve(preset: Preset) -> LearningRateCurve:
    """Compute the lr of each parameter group at a few hundred of the run's steps.

    This opens the data to get its size, and builds the model without weights to get its parameter groups. The
    batches are those of all processes, and `distributed.lr_scaling` applies.
    Raises ComponentError, DataError and TrustError, like the start of a run.
    """
    user_code = UserCode.of(preset)
    opened, model = _open(preset, user_code, lambda phase: None)
    _, learning_rate = build_optimization(
        preset, model, opened.order.batches_per_epoch, user_code, opened.ranks.size
    )
    schedule = learning_rate.copy_schedule()
    forecast, epochs = preview_lr(schedule)
    return LearningRateCurve(
        steps_per_epoch=schedule.steps_per_epoch,
        total_steps=schedule.total_steps,
        steps=forecast.steps.tolist(),
        lrs=forecast.lrs.tolist(),
        metric=forecast.metric,
        unit=describe_units(schedule.parts),
        epochs=epochs,
    )


def extended_lr_report(preset_file: str, run_folder: str) -> BaseModel:
    """Return the lr that a run would have if it were resumed with the preset."""
    from torchconsole.engine.analysis.extended_lr import extended_lr

    preset = read_preset(Path(preset_file))
    user_code = UserCode.of(preset)
    opened, model = _open(preset, user_code, lambda phase: None)
    checkpoints = RunFolder(Path(run_folder)).checkpoints
    return extended_lr(preset, model, opened.order.batches_per_epoch, checkpoints, user_code)


def device_report() -> BaseModel:
    """Describe this machine's devices, independent of any preset."""
    best = "cuda" if torch.cuda.is_available() else "cpu"
    return describe_device(torch.device(best))


def catalogue_report() -> BaseModel:
    """Return the catalogue of torch's components; see engine.config.catalogue."""
    from torchconsole.engine.analysis.catalogue_builder import build_catalogue

    return build_catalogue()


def evaluation_report(checkpoint: str, part: Part, weights: Weights, device: str | None = None) -> BaseModel:
    """Evaluate a checkpoint on a part of its run's data."""
    return evaluate_checkpoint(Path(checkpoint), part, weights, device)


def other_data_report(checkpoint: str, path: str, weights: Weights, device: str) -> BaseModel:
    """Evaluate a checkpoint on other data than its run's."""
    from torchconsole.engine.analysis.other_data import evaluate_on

    return evaluate_on(Path(checkpoint), Path(path), weights, device or None)


def export_report(checkpoint: str, file: str, form: Format, weights: Weights) -> BaseModel:
    """Export the weights of a checkpoint or its model, and describe the file."""
    return export(Path(checkpoint), Path(file), form, weights)


def prediction_report(
    checkpoint: str,
    weights: Weights,
    device: str,
    top: str,
    batch_size: str,
    flips: str,
    pictures: str,
    *inputs: str,
) -> BaseModel:
    """Predict for files with the weights of a checkpoint."""
    from torchconsole.engine.analysis.predictions import predict

    return predict(
        Path(checkpoint),
        inputs,
        weights,
        device or None,
        top=int(top),
        batch_size=int(batch_size),
        flips=bool(flips),
        pictures=bool(pictures),
    )


def layer_report(checkpoint: str, weights: Weights, device: str) -> BaseModel:
    """List the layers of a checkpoint's model."""
    from torchconsole.engine.analysis.features import list_layers

    return list_layers(Path(checkpoint), weights, device or None)


def feature_report(
    checkpoint: str, weights: Weights, device: str, batch_size: str, file: str, layers: str, *inputs: str
) -> BaseModel:
    """Write the outputs of layers for files, and describe the file."""
    from torchconsole.engine.analysis.features import compute_features

    return compute_features(
        Path(checkpoint),
        inputs,
        layers.split(","),
        Path(file),
        weights,
        device or None,
        batch_size=int(batch_size),
    )


def _open(preset: Preset, user_code: UserCode, report: ReportPhase) -> tuple[DataBuilder, nn.Module]:
    """Open the data, and build the model on the CPU without its weights: for its structure only."""
    ranks = planned_ranks(preset.distributed)
    opened = open_data(preset.data, preset.training, report, user_code, ranks=ranks)
    config = preset.model.model_copy(update={"weights": None, "init": []})
    model = build_model(config, opened.spec, user_code)
    freeze(model, preset.model.freeze)
    return opened, model


REPORTS: dict[str, Callable[..., BaseModel]] = {
    "summary": summary_report,
    "initial-values": initial_values_report,
    "checkpoint-values": checkpoint_values_report,
    "graph": graph_report,
    "check": check_report,
    "samples": sample_report,
    "find-lr": lr_search_report,
    "find-batch": batch_search_report,
    "find-workers": loader_search_report,
    "profile": profile_report,
    "lr": lr_report,
    "extended-lr": extended_lr_report,
    "device": device_report,
    "catalogue": catalogue_report,
    "evaluate": evaluation_report,
    "evaluate-on": other_data_report,
    "export": export_report,
    "predict": prediction_report,
    "layers": layer_report,
    "features": feature_report,
}


def main(arguments: list[str]) -> int:
    """Write a report and return 0. If the user's input is wrong, write why, also to stderr, and return 2."""
    name_user()
    try:
        # torch warns about an old driver, which DeviceError reports anyway.
        with warnings.catch_warnings(action="ignore"), named_failures():
            report = within_memory(lambda: REPORTS[arguments[0]](*arguments[1:]))
    except TorchconsoleError as error:
        return _refuse(str(error))
    except SystemExit as error:
        return _refuse(f"the user code ends the program: {describe_exit(error)}")
    write_line(dump_json(report))
    return 0


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    write_line(json.dumps(message.splitlines()))
    return 2


if __name__ == "__main__":
    keep_stdout()
    sys.exit(main(sys.argv[1:]))
