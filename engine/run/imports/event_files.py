"""Reads runs from TensorBoard's event files, by TensorBoard's own reader."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import open_regular
from torchconsole.engine.run.imports.recording import (
    NOT_A_NUMBER,
    REPLACED,
    Notes,
    Recording,
    is_part,
    number,
    our_names,
)
from torchconsole.engine.run.names import TENSORBOARD

FORMAT = "TensorBoard"

EVENTS = "tfevents"
"""Is in the name of each event file."""

SCALARS, OTHERS = {"scalars": 0}, {"tensors": 1}
"""How many values of a tag the reader keeps: all scalars, and one of what may be large, such as images."""


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
    """Return TensorBoard's reader of a file or a folder, which has read all. Raises RunError."""
    try:
        from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
    except ImportError as error:
        raise RunError(
            f"{place}: TensorBoard's files require tensorboard: pip install 'torchconsole[tensorboard]'"
        ) from error
    for file in place.iterdir() if place.is_dir() else [place]:
        if EVENTS in file.name:
            _require_file(file)
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of every second graph
    reader = EventAccumulator(str(place), size_guidance=OTHERS, tensor_size_guidance=SCALARS)
    reader.Reload()
    return reader


def _require_file(file: Path) -> None:
    """Raise RunError unless this is a file that can be read: TensorBoard would wait for a FIFO's writer."""
    try:
        open_regular(file).close()
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror}") from error


def _add(recording: Recording, reader: Any, part: str) -> None:
    series = dict(_series(reader, recording.notes))
    names = our_names([tag for tag, found in series.items() if found], part)
    recording.rename({f"{part}/{tag}" if part else tag: name for tag, name in names.items()})
    for tag, name in names.items():
        for step, value, time in series[tag]:
            place = f"{tag!r} at step {step:,}"
            if step < 0:
                recording.notes.add("value", "left out, of a negative step", place)
            elif recording.add(step, name, value, time):
                recording.notes.add("value", REPLACED, place)


def _series(reader: Any, notes: Notes) -> Iterator[tuple[str, list[tuple[int, float, float]]]]:
    """Yield each tag of scalars with its steps, values and times; what is not a number is in `notes`."""
    for tag, about in reader.summary_metadata.items():
        if about.plugin_data.plugin_name == "scalars":
            found = [(each.step, _scalar(each.tensor_proto), each.wall_time) for each in reader.Tensors(tag)]
            for step, value, _ in found:
                if value is None:
                    notes.add("value", NOT_A_NUMBER, f"{tag!r} at step {step:,}")
            yield tag, [(step, value, time) for step, value, time in found if value is not None]


def _scalar(tensor: Any) -> float | None:
    """Return the number in a tensor; None for a vector, a text or what is damaged."""
    from tensorboard.util.tensor_util import make_ndarray

    with suppress(TypeError, ValueError):
        return number(make_ndarray(tensor).item())
    return None


def _hyperparameters(reader: Any) -> dict[str, Any]:
    if "_hparams_/session_start_info" not in reader.summary_metadata:
        return {}
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = reader.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    with suppress(DecodeError):
        found = HParamsPluginData.FromString(content).session_start_info.hparams
        return {
            name: getattr(value, kind) for name, value in found.items() if (kind := value.WhichOneof("kind"))
        }
    return {}
