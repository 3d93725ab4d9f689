"""TensorBoard's own reader finds what a run has logged."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.runs import FINISHED, limit_file_size, make_folder
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.histograms import Histogram, WeightHistograms
from torchconsole.engine.protocol.info import ConfusionMatrix, WorstSample
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.run.folder import RunFolder

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from torchconsole.engine.session.tracking.confusion_image import confusion_image
from torchconsole.engine.session.tracking.tensorboard_log import TensorBoardLog
from torchconsole.engine.session.tracking.worst_samples import worst_pictures

CONFUSION = ConfusionMatrix(classes=["cat", "dog"], counts=[[3, 1], [0, 4]])


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return make_folder(tmp_path)


def log_of(folder: RunFolder) -> TensorBoardLog:
    return TensorBoardLog(SimpleNamespace(folder=folder))  # type: ignore[arg-type]


def read(folder: RunFolder) -> Any:
    found = EventAccumulator(
        str(folder.tensorboard), size_guidance={"scalars": 0, "images": 0, "histograms": 0}
    )
    found.Reload()
    return found


def logged(first: int, last: int, factor: float = 1.0) -> ev.MetricsLogged:
    steps = range(first, last + 1)
    series = {"train/loss": Points.of(steps, [factor / step for step in steps])}
    return ev.MetricsLogged(step=last, epoch=1, active_seconds=1.0, series=series, time=1700000000.0)


def evaluation(step: int) -> ev.EvaluationCompleted:
    return ev.EvaluationCompleted(
        step=step, epoch=1, metrics={"val/loss": 0.25}, seconds=0.1, confusion=CONFUSION, time=1700000001.0
    )


def test_values_are_scalars_with_their_steps_and_times(folder: RunFolder) -> None:
    log = log_of(folder)
    log.write([logged(1, 10), evaluation(10)])
    found = read(folder).Scalars("train/loss")
    assert [(each.step, each.value) for each in found] == [
        (step, pytest.approx(1 / step)) for step in range(1, 11)
    ]
    assert [each.wall_time for each in read(folder).Scalars("val/loss")] == [1700000001.0]
    log.close()


def test_a_resume_purges_the_steps_that_it_makes_void(folder: RunFolder) -> None:
    log = log_of(folder)
    log.write([logged(1, 10), evaluation(5), evaluation(10)])
    log.close()
    log = log_of(folder)
    log.write([ev.RunResumed(step=6, epoch=1, checkpoint="step-00000006"), logged(7, 12, factor=2.0)])
    log.close()
    found = read(folder)
    assert [each.step for each in found.Scalars("train/loss")] == [*range(1, 13)]
    assert found.Scalars("train/loss")[6].value == pytest.approx(2 / 7)
    assert [each.step for each in found.Scalars("val/loss")] == [5]


def test_after_a_full_disk_every_value_is_there_once(folder: RunFolder) -> None:
    log = log_of(folder)
    log.write([logged(1, 10)])
    (file,) = folder.tensorboard.iterdir()
    items = [logged(11, 200)]
    with limit_file_size(file.stat().st_size + 500), pytest.raises(OSError, match="File too large"):
        log.write(items)
    log.write([*items, logged(201, 210)])
    log.close()
    assert [each.step for each in read(folder).Scalars("train/loss")] == [*range(1, 211)]


def test_histograms(folder: RunFolder) -> None:
    histogram = Histogram(-1.0, 1.0, 0.5, 2.0, [0.0, 1.0], [3, 4])
    log = log_of(folder)
    log.write([WeightHistograms(5, 1700000000.0, {"weights/fc.weight": histogram})])
    log.close()
    (found,) = read(folder).Histograms("weights/fc.weight")
    value = found.histogram_value
    assert (found.step, value.min, value.max, value.num, value.sum, value.sum_squares) == (
        5,
        -1,
        1,
        7,
        0.5,
        2,
    )
    assert (value.bucket_limit, value.bucket) == ([0.0, 1.0], [3.0, 4.0])


def test_confusion_matrices_are_pictures(folder: RunFolder) -> None:
    log = log_of(folder)
    log.write([evaluation(5), evaluation(10)])
    log.close()
    found = read(folder).Images("val/confusion")
    assert [each.step for each in found] == [5, 10]
    picture = Image.open(io.BytesIO(found[0].encoded_image_string))
    assert (picture.width, picture.height) == (found[0].width, found[0].height)


def test_the_worst_samples_are_a_table_and_pictures(folder: RunFolder, tmp_path: Path) -> None:
    Image.new("RGB", (300, 100), "red").save(tmp_path / "a|b.png")
    places = [str(tmp_path / "a|b.png"), "table.csv:12", str(tmp_path / "gone.png")]
    worst = [
        WorstSample(index=number, place=place, loss=3.0 - number, label="cat", predicted="dog")
        for number, place in enumerate(places)
    ]
    log = log_of(folder)
    log.write([evaluation(5).model_copy(update={"worst": worst})])
    log.close()
    found = read(folder)
    (text,) = found.Tensors("val/worst/text_summary")[0].tensor_proto.string_val
    first, _, row, *rest = text.decode().splitlines()
    assert first == "| loss | true | predicted | sample |"
    assert row == f"| 3 | cat | dog | {tmp_path}/a\\|b.png |"
    assert len(rest) == 2
    (picture,) = found.Images("val/worst")
    pixels = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)))
    assert pixels.shape == (96 + 26, 96, 3)
    assert pixels[48, 48].tolist() == [255, 0, 0]
    assert pixels[2, 48].tolist() == [255, 255, 255]


def test_without_an_image_file_there_is_no_picture() -> None:
    assert worst_pictures([WorstSample(index=0, place="0", loss=None, label="a", predicted="b")]) is None


def test_a_cell_is_the_darker_the_larger_its_share_of_its_row() -> None:
    picture = confusion_image(CONFUSION).astype(int).sum(axis=2)
    cells = picture[-96:, -96:]
    corners = cells[[2, 2, 50, 50], [2, 50, 2, 50]]
    assert np.argsort(corners).tolist() == [3, 0, 1, 2]
    assert corners[2] == 3 * 255


def test_many_classes_make_no_large_picture() -> None:
    classes = [f"class {number}" for number in range(200)]
    picture = confusion_image(ConfusionMatrix(classes=classes, counts=np.eye(200, dtype=int).tolist()))
    assert picture.shape == (600, 600, 3)


def test_hyperparameters_with_their_metrics(folder: RunFolder) -> None:
    folder.preset_file.write_text(
        'title = "x"\n[optimizer]\nlr = 0.1\nbetas = [0.9, 0.99]\n[data]\nname = "N"\n'
    )
    log = log_of(folder)
    log.write([evaluation(5), evaluation(10), FINISHED])
    log.close()
    found = read(folder)
    start = parsed(found, "_hparams_/session_start_info").session_start_info.hparams
    assert start["optimizer.lr"].number_value == 0.1
    assert start["optimizer.betas"].string_value == "[0.9, 0.99]"
    assert start["data.name"].string_value == "N"
    metrics = parsed(found, "_hparams_/experiment").experiment.metric_infos
    assert [each.name.tag for each in metrics] == ["train/loss", "val/loss"]
    assert parsed(found, "_hparams_/session_end_info").HasField("session_end_info")


def parsed(found: Any, tag: str) -> Any:
    return HParamsPluginData.FromString(found.SummaryMetadata(tag).plugin_data.content)


def test_a_preset_that_cannot_be_read_costs_the_settings_only(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.preset_file.write_text("title = 'x\n")
    log = log_of(folder)
    log.write([logged(1, 10), evaluation(5)])
    log.write([evaluation(10), FINISHED])
    log.close()
    assert [each.step for each in read(folder).Scalars("val/loss")] == [5, 10]
    (message,) = caplog.messages
    assert message.startswith(f"tracking: the settings are left out: {folder.preset_file}: is not valid TOML")


def test_attempts_that_fail_leave_no_files_and_lose_no_settings(folder: RunFolder) -> None:
    log = log_of(folder)
    items = [logged(1, 200), evaluation(200)]
    with limit_file_size(500):
        for _ in range(3):
            with pytest.raises(OSError, match="File too large"):
                log.write(items)
    assert list(folder.tensorboard.iterdir()) == []
    log.write(items)
    log.close()
    assert len(list(folder.tensorboard.iterdir())) == 1
    found = read(folder)
    assert [each.step for each in found.Scalars("train/loss")] == [*range(1, 201)]
    assert parsed(found, "_hparams_/session_start_info").HasField("session_start_info")


def test_a_failure_after_a_resume_keeps_what_is_void(folder: RunFolder) -> None:
    log = log_of(folder)
    log.write([logged(1, 10)])
    log.close()
    log = log_of(folder)
    log.write([ev.RunResumed(step=6, epoch=1, checkpoint="step-00000006")])
    with limit_file_size(10), pytest.raises(OSError, match="File too large"):
        log.write([evaluation(9)])
    log.write([evaluation(9)])
    log.close()
    assert [each.step for each in read(folder).Scalars("train/loss")] == [*range(1, 7)]
