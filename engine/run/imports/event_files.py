"""Reads runs from TensorBoard's event files, by TensorBoard's own reader."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.imports.recording import Recording, is_part, our_names
from torchconsole.engine.run.names import TENSORBOARD

FORMAT = "TensorBoard"

ALL = {"scalars": 0, "tensors": 0, "images": 1, "histograms": 1, "compressedHistograms": 1, "audio": 1}
"""How many values of each kind the reader keeps: 0 stands for all."""


def read_event_files(places: list[Path]) -> list[Recording]:
    """Read one run from each folder of event files, or from a single file.

    Folders like `train` and `validation` beside each other, as Keras makes them, are one run. So is a folder
    of hyperparameters in that of a run, as PyTorch's SummaryWriter makes it. Raises RunError if TensorBoard
    is not installed.
    """
    found: dict[Path, Recording] = {}
    for place in places:
        reader, folder = _reader(place), place.parent if place.is_file() else place
        settings = _hyperparameters(reader)
        if settings and folder.parent in places:
            found.setdefault(folder.parent, _empty(folder.parent)).settings |= settings
            continue
        part = folder.name if is_part(folder.name) else ""
        run = folder.parent if part else folder
        recording = found.setdefault(run, _empty(run))
        recording.settings |= settings
        _add(recording, reader, part)
    return list(found.values())


def _empty(folder: Path) -> Recording:
    """Return a recording without steps. Our own event files are in a folder of the run's."""
    named = folder.parent if folder.name == TENSORBOARD else folder
    return Recording(named.name, str(folder), FORMAT)


def _reader(place: Path) -> Any:
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise RunError(
            f"{place}: TensorBoard's files require tensorboard: pip install 'torchconsole[tensorboard]'"
        ) from error
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of every second graph
    reader = EventAccumulator(str(place), size_guidance=ALL)
    reader.Reload()
    return reader


def _add(recording: Recording, reader: Any, part: str) -> None:
    series = dict(_series(reader))
    for tag, name in our_names(list(series), part).items():
        for step, value, time in series[tag]:
            if step >= 0:
                recording.add(step, name, value, time)


def _series(reader: Any) -> Iterator[tuple[str, list[tuple[int, float, float]]]]:
    """Yield each tag with its steps, values and times. TensorFlow 2 writes scalars as tensors."""
    from tensorboard.util.tensor_util import make_ndarray

    tags = reader.Tags()
    for tag in tags["scalars"]:
        yield tag, [(each.step, each.value, each.wall_time) for each in reader.Scalars(tag)]
    for tag in tags["tensors"]:
        if reader.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
            values = reader.Tensors(tag)
            yield (
                tag,
                [(each.step, float(make_ndarray(each.tensor_proto)), each.wall_time) for each in values],
            )


def _hyperparameters(reader: Any) -> dict[str, Any]:
    if "_hparams_/session_start_info" not in reader.summary_metadata:
        return {}
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = reader.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, kind) for name, value in found.items() if (kind := value.WhichOneof("kind"))}
