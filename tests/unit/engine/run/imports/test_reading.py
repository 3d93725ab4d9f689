"""What CSV files, TensorBoard's and wandb's hold, in our words."""

from __future__ import annotations

import itertools
import json
import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.imports.event_files import _reader
from torchconsole.engine.run.imports.finding import read_recordings
from torchconsole.engine.run.imports.recording import Recording, our_names
from torchconsole.engine.run.imports.wandb_file import BLOCK, read_wandb


def values(recording: Recording, name: str) -> list[tuple[int, float]]:
    """Return (step, value) of a metric."""
    steps = sorted(recording.steps.items())
    return [(number, step.metrics[name]) for number, step in steps if name in step.metrics]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (["loss", "val_loss", "accuracy", "val_accuracy"],
         ["train/loss", "val/loss", "train/accuracy", "val/accuracy"]),
        (["Loss/train", "Loss/validation", "learning_rate"], ["train/loss", "val/loss", "lr"]),
        (["train/loss", "eval/loss", "train/learning_rate"], ["train/loss", "val/loss", "lr"]),
        (["train_loss", "loss", "grad_norm"], ["train/loss", "loss", "grad_norm"]),
        (["loss", "train/loss"], ["loss", "train/loss"]),
        (["acc", "val_acc", "Val_Loss"], ["train/accuracy", "val/accuracy", "val/loss"]),
        (["acc", "train/accuracy"], ["acc", "train/accuracy"]),
        (["acc", "accuracy", "val_accuracy"], ["train/accuracy", "accuracy", "val/accuracy"]),
        (["Accuracy", "acc", "val_acc"], ["train/accuracy", "acc", "val/accuracy"]),
        (["train_loss", "loss", "val_loss"], ["train/loss", "loss", "val/loss"]),
    ],
)  # fmt: skip
def test_names(theirs: list[str], ours: list[str]) -> None:
    assert list(our_names(theirs).values()) == ours


NAMES = (
    "acc",
    "Accuracy",
    "accuracy",
    "train/accuracy",
    "val_acc",
    "val/accuracy",
    "train_loss",
    "loss",
    "lr",
)


@pytest.mark.parametrize("part", ["", "train", "validation"])
def test_two_metrics_never_share_a_name(part: str) -> None:
    for theirs in itertools.permutations(NAMES, 4):
        names = our_names(list(theirs), part)
        assert list(names) == list(theirs)
        assert len(set(names.values())) == len(theirs), theirs


def test_metrics_of_two_folders_never_share_a_name() -> None:
    theirs = ["acc", "accuracy", "epoch_loss", "loss"]
    names = [name for part in ("train", "validation") for name in our_names(theirs, part).values()]
    assert names == [
        *("train/acc", "train/accuracy", "train/epoch_loss", "train/loss"),
        *("val/acc", "val/accuracy", "val/epoch_loss", "val/loss"),
    ]


def test_blank_lines_of_a_table_count_as_lines(tmp_path: Path) -> None:
    table = write(tmp_path / "fit.csv", "step,loss", "", "1,0.5", "", '2,"0.', '25"', "", "x,0.5", "3,1,2")
    (found,) = read_recordings(table)
    assert values(found, "train/loss") == [(1, 0.5), (3, 1.0)]
    assert found.notes.lines == [
        "1 row left out, without a number of 0 or more in 'step': line 8 ('x')",
        "1 row with more fields than the first line, whose extra fields are left out: line 9",
        "1 value left out, not a number: '0.\\n25' of 'loss' in line 5",
    ]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_table_of_keras_counts_epochs_from_one(tmp_path: Path) -> None:
    table = write(tmp_path / "fit.csv", "epoch,loss,val_loss", "0,1.5,2.0", "1,0.5,nan")
    (found,) = read_recordings(table)
    assert (found.name, found.format, found.source) == ("fit", "CSV", str(table))
    assert values(found, "train/loss") == [(1, 1.5), (2, 0.5)]
    assert values(found, "val/loss")[0] == (1, 2.0)
    assert math.isnan(values(found, "val/loss")[1][1])
    assert [step.epoch for step in found.steps.values()] == [1, 2]
    assert found.notes.lines == ["1 run with epochs from 0, which are counted from 1 here: fit"]


def test_a_table_of_lightning_has_two_lines_for_a_step(tmp_path: Path) -> None:
    folder = tmp_path / "version_0"
    folder.mkdir()
    write(folder / "metrics.csv", "epoch,step,train_loss,val_loss", "0,49,0.5,", "0,49,,0.75", "1,99,0.25,")
    (found,) = read_recordings(tmp_path)
    assert found.name == "version_0"
    assert values(found, "train/loss") == [(49, 0.5), (99, 0.25)]
    assert values(found, "val/loss") == [(49, 0.75)]
    assert found.steps[99].epoch == 2


def test_a_column_without_a_name_has_neither_runs_nor_epochs_nor_times(tmp_path: Path) -> None:
    (found,) = read_recordings(write(tmp_path / "fit.csv", ",step,loss", "7,1,0.5", "8,2,0.25"))
    assert values(found, "train/loss") == [(1, 0.5), (2, 0.25)]
    assert {(step.epoch, step.time) for step in found.steps.values()} == {(None, None)}


def test_a_table_of_ours_has_a_run_for_each_name(tmp_path: Path) -> None:
    table = write(tmp_path / "runs.csv", "run,step,epoch,time,active_seconds,train/loss,note",
                  "a,1,1,100.5,0.1,0.5,x", "b,1,1,200,0.1,0.75,", "a,2,1,101,0.2,0.25,")  # fmt: skip
    one, two = read_recordings(table)
    assert (one.name, two.name) == ("a", "b")
    assert values(one, "train/loss") == [(1, 0.5), (2, 0.25)]
    assert [step.time for step in one.steps.values()] == [100.5, 101.0]
    assert one.metrics == ["train/loss"]


def test_what_is_left_out_of_a_table_is_counted_with_its_lines(tmp_path: Path) -> None:
    table = write(
        tmp_path / "fit.csv",
        "epoch;loss;loss;val_acc;note;lr",
        "1;9;1.5;0.5;hello;0.1",
        '2;9;"1,25";0.5;"two',
        'lines";0.1',
        "bad;9;1;1;x;1",
        "3.5;9;1.0;0.75;y;0.1",
        "3;9;1.25;0.75;z;fast;0.2",
        "-3;9;1;1;;1",
        ";9;1;1;;1",
        "inf;9;1;1;;1",
    )
    (found,) = read_recordings(table)
    assert found.separator == "semicolons"
    assert found.renamed == {"loss": "train/loss", "val_acc": "val/accuracy"}
    assert values(found, "train/loss") == [(1, 1.5), (3, 1.25)]
    assert values(found, "lr") == [(1, 0.1), (2, 0.1), (3, 0.1)]
    assert found.notes.lines == [
        "1 column left out, as the last one of the same name counts: loss",
        "4 rows left out, without a number of 0 or more in 'epoch': "
        "line 5 ('bad'), line 8 ('-3'), line 9 (''), ...",
        "1 row with a fraction in 'epoch', rounded down: line 6 (3.5)",
        "1 row with more fields than the first line, whose extra fields are left out: line 7",
        "2 values replaced by a later one of the same step: 'loss' in line 7, 'val_acc' in line 7",
        "2 values left out, not a number: '1,25' of 'loss' in line 3, 'fast' of 'lr' in line 7",
        "1 column left out, without numbers: note",
    ]


def test_a_run_of_a_table_without_steps_is_named(tmp_path: Path) -> None:
    (found,) = read_recordings(write(tmp_path / "runs.csv", "run,step,loss", "a,1,0.5", "b,x,0.5"))
    assert found.notes.lines == [
        "1 row left out, without a number of 0 or more in 'step': line 3 ('x')",
        "1 run left out, without values by step: b",
    ]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_separators(separator: str, tmp_path: Path) -> None:
    (found,) = read_recordings(write(tmp_path / "t.csv", f"step{separator}loss", f"1{separator}0.5"))
    assert values(found, "train/loss") == [(1, 0.5)]
    assert found.notes.lines == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,b", "1,2"], "has no column for the step"),
        (["step,loss", "x,1", "-1,2"], "has no values that were logged by step; 2 rows left out, .*line 2"),
        ([""], "has no column for the step"),
    ],
)
def test_tables_without_steps_are_refused(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=message):
        read_recordings(write(tmp_path / "t.csv", *lines))


def test_a_folder_without_anything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no event files of TensorBoard, \.wandb files or \.csv files"):
        read_recordings(tmp_path)
    with pytest.raises(RunError, match="no such file or folder"):
        read_recordings(tmp_path / "gone")


def test_event_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "one")) as writer:
        for step in range(1, 51):
            writer.add_scalar("Loss/train", 1 / step, step, walltime=1000.0 + step)
        writer.add_scalar("val_loss", 0.25, 50, new_style=True)
        writer.add_hparams({"lr": 0.5, "name": "net"}, {"score": 1.0})
    for part, factor in (("train", 1.0), ("validation", 2.0)):
        with SummaryWriter(str(tmp_path / "two" / part)) as writer:
            writer.add_scalar("epoch_loss", factor, 0)
    one, two = read_recordings(tmp_path)
    assert (one.name, two.name) == ("one", "two")
    assert values(one, "train/loss") == [(step, pytest.approx(1 / step)) for step in range(1, 51)]
    assert values(one, "val/loss") == [(50, 0.25)]
    assert one.steps[3].time == 1003.0
    assert one.settings == {"lr": 0.5, "name": "net"}
    assert values(two, "train/loss") == [(0, 1.0)]
    assert values(two, "val/loss") == [(0, 2.0)]


def tensor_events(folder: Path, *values: tuple[str, str, Any, bytes], steps: int = 1) -> Path:
    """Write a file with tensors, each as (tag, plugin, value or TensorProto, content for the plugin)."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.summary.writer.record_writer import RecordWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    with (folder / "events.out.tfevents.1").open("wb") as file:
        writer = RecordWriter(file)
        for step in range(1, steps + 1):
            for tag, plugin, value, content in values:
                about = SummaryMetadata()
                about.plugin_data.plugin_name, about.plugin_data.content = plugin, content
                tensor = value if isinstance(value, TensorProto) else make_tensor_proto(value)
                found = Summary.Value(tag=tag, tensor=tensor, metadata=about)
                event = Event(step=step, wall_time=1.0, summary=Summary(value=[found]))
                writer.write(event.SerializeToString())
        writer.flush()
    return folder


def test_tensors_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto.tensor_pb2 import TensorProto

    odd = {"vector": np.ones(2), "text": "x", "empty": TensorProto(dtype=1), "unknown": TensorProto(dtype=99)}
    values_by_tag = [(tag, "scalars", value, b"") for tag, value in odd.items()]
    settings = ("_hparams_/session_start_info", "hparams", 0.0, b"\xff\xff\xff")
    tensor_events(tmp_path, *values_by_tag, settings, ("loss", "scalars", 0.5, b""))
    (found,) = read_recordings(tmp_path)
    assert (found.metrics, found.settings) == (["train/loss"], {})
    assert [line.partition(": ")[0] for line in found.notes.lines] == ["4 values left out, not a number"]
    assert values(found, "train/loss") == [(1, 0.5)]


def test_of_large_tensors_one_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tags = [("image", "images", np.zeros(100), b""), ("a", "scalars", 0.5, b"")]
    reader = _reader(tensor_events(tmp_path, *tags, steps=20))
    assert [len(reader.Tensors(tag)) for tag in ("image", "a")] == [1, 20]


@pytest.mark.parametrize("place", ["", "events.out.tfevents.2"])
def test_a_fifo_is_refused(tmp_path: Path, place: str) -> None:
    pytest.importorskip("tensorboard")
    tensor_events(tmp_path, ("a", "scalars", 0.5, b""))
    os.mkfifo(tmp_path / "events.out.tfevents.2")  # opening it would wait for a writer
    with pytest.raises(RunError, match=r"events\.out\.tfevents\.2: cannot be read: not a regular file"):
        read_recordings(tmp_path / place)


def wandb_log(*records: bytes) -> bytes:
    """Return the content of a .wandb file."""
    data = b":W&B\xe1\xbe\x00"
    for record in records:
        rest, first = record, True
        while True:
            left = BLOCK - len(data) % BLOCK
            if left < 7:
                data += b"\0" * left
                left = BLOCK
            piece, rest = rest[: left - 7], rest[left - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not rest]
            data += struct.pack("<IHB", 0, len(piece), kind) + piece
            first = False
            if not rest:
                break
    return data


def test_offline_runs_of_wandb(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    begin = Record()
    begin.run.display_name = "net-a"
    for key, value in {"lr": 0.1, "net": {"width": 3}, "_wandb": {}}.items():
        begin.run.config.update.add(key=key, value_json=json.dumps(value))
    begin.run.config.update.add(key="deep", value_json=200_000 * "[")
    records = [begin]
    for step in range(1, 1001):
        record = Record()
        found = {"_step": step, "_timestamp": 1000.0 + step, "loss": 1 / step, "text": "x" * 200}
        if step == 10:
            found["val/loss"] = "NaN"
        for key, value in found.items():
            record.history.item.add(nested_key=[key], value_json=json.dumps(value))
        record.history.item.add(nested_key=["layer", "norm"], value_json="2")
        records.append(record)
    data = wandb_log(*(record.SerializeToString() for record in records))
    assert len(data) > 5 * BLOCK
    path = tmp_path / "run-x.wandb"
    path.write_bytes(data[:-10])
    (found_run,) = read_recordings(path)
    assert (found_run.name, found_run.settings) == ("net-a", {"lr": 0.1, "net": {"width": 3}})
    assert values(found_run, "train/loss") == [(step, 1 / step) for step in range(1, 1000)]
    assert math.isnan(values(found_run, "val/loss")[0][1])
    assert found_run.metrics == ["train/loss", "layer.norm", "val/loss"]
    assert found_run.notes.lines == ["1 metric left out, without numbers: text"]
    assert found_run.steps[7].time == 1007.0


@pytest.mark.parametrize("data", [b"", b"nothing of that kind"])
def test_other_files_are_no_files_of_wandb(data: bytes, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    (tmp_path / "run-x.wandb").write_bytes(data)
    with pytest.raises(RunError, match="is not a file of wandb"):
        read_wandb(tmp_path / "run-x.wandb")
