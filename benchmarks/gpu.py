"""The benchmarks that need a GPU: `python -m benchmarks.gpu` (`make bench-gpu`).

SimpleCNNv3Wide and ResNet9 on CIFAR-10 are compared with the hand-written loops, in fp32 and in the precision
that `precision = "auto"` selects, with and without a console. Then both presets are trained from start to end
to measure accuracy, time and GPU utilization. Results are written to benchmarks/results-gpu.json after each
part. Everything takes about 15 minutes; `--only` measures one part again and keeps the other parts' results
if they are of the same commit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import document, report
from benchmarks.figures import Figure
from benchmarks.speed import QUICK, Effort, Speeds, measure
from benchmarks.terminal import temporary_home
from benchmarks.workloads import Workload
from torchconsole.engine.client.launcher import start_run
from torchconsole.engine.config.loading import load_preset

RESULTS = Path(__file__).with_name("results-gpu.json")
ARCHIVE = Path("shared", "data", "cifar10-jpeg.tar.xz")
ROOT = Path(__file__).resolve().parents[1]
SPEED = "speed"
PARTS = (SPEED, "cifar10-resnet9", "cifar10-simple-v3-wide")
NETS = {"SimpleCNNv3Wide": ("cifar10-simple-v3-wide", 32, 400), "ResNet9": ("cifar10-resnet9", 512, 50)}
"""By model: preset, batch size, and steps of the one epoch that a variant trains."""

VALIDATION = 512
POLL_SECONDS = 0.25
ACCURACY = "val/accuracy"


def main() -> int:
    """Run the command line; returns the exit status."""
    arguments = _parser().parse_args()
    if not torch.cuda.is_available() and not arguments.dry_run:
        print("benchmarks.gpu: torch finds no CUDA device; nothing was measured")
        return 0
    metadata = {
        **document.environment(),
        "dry_run": arguments.dry_run,
        "rounds": 1 if arguments.dry_run else QUICK.rounds,
    }
    speeds: list[Speeds] = []
    figures: list[Figure] = []
    with temporary_home() as home:
        images = _images(Path(home), arguments)
        for part in [arguments.only] if arguments.only else PARTS:
            print(f"measuring {part}", flush=True)
            if part == SPEED:
                speeds = _speeds(Path(home), images, dry=arguments.dry_run)
            else:
                figures += train_to_end(part, images, Path(home, "runs"), _dry_overrides(arguments.dry_run))
            results = document.compose(metadata, speeds, figures)
            if arguments.only and RESULTS.exists():
                results = _merge(document.read(RESULTS), results, part)
            document.write(results, RESULTS)
    print(report.as_text(results))
    return 0


def train_to_end(preset: str, images: Path, runs_dir: Path, overrides: tuple[str, ...] = ()) -> list[Figure]:
    """Train `preset` on the image folder `images`, and evaluate on its `val` folder.

    Raises RuntimeError if the run fails.
    """
    data = ("data.name=ImageFolder", f"data.root={images}", "data.download=")
    run = start_run(load_preset(preset, [*data, *overrides]), preset, runs_dir)
    utilization: list[float] = []
    try:
        while run.process.poll() is None:
            if run.folder.metrics_file.exists():
                utilization += gpu_percent()
            time.sleep(POLL_SECONDS)
    finally:
        run.process.kill()
    lines = [json.loads(line) for line in run.folder.metrics_file.read_text(encoding="utf-8").splitlines()]
    accuracies = [line[ACCURACY] for line in lines if line["kind"] == "evaluation"]
    if run.process.returncode or not accuracies:
        raise RuntimeError(run.folder.log_file.read_text(encoding="utf-8"))
    seconds = run.folder.load_record().details["active_seconds"]
    epochs = max(line["epoch"] for line in lines)
    figures = [
        Figure(f"{preset}: best accuracy on the test images", 100 * max(accuracies), "%"),
        Figure(f"{preset}: final accuracy on the test images", 100 * accuracies[-1], "%"),
        Figure(f"{preset}: time for {epochs} epochs with evaluations", seconds, "s"),
    ]
    if utilization:
        figures.append(Figure(f"{preset}: GPU utilization", statistics.median(utilization), "%"))
    return figures


def gpu_percent() -> list[float]:
    """The current utilization of torch's GPU in %; empty without a GPU."""
    return [float(torch.cuda.utilization())] if torch.cuda.is_available() else []


def _merge(before: document.Document, now: document.Document, part: str) -> document.Document:
    """Combine the new results of `part` with the earlier results of the other parts at the same commit."""
    if before["commit"] != now["commit"]:
        return now
    if part == SPEED:
        return now | {"figures": before["figures"]}
    others = [figure for figure in before["figures"] if not figure["name"].startswith(part)]
    return before | {"figures": others + now["figures"]}


def _speeds(home: Path, images: Path, *, dry: bool) -> list[Speeds]:
    file = home / "cifar.npz"
    _decode_images(images / "train", file)
    results = []
    for net, (preset, batch_size, steps) in NETS.items():
        for precision in ["fp32"] if dry else ["fp32", "auto"]:
            overrides = (
                "data.name=NPZ", f"data.root={file}", "data.download=", "data.transforms=", "data.drop_last=",
                f"data.val_split={8 if dry else VALIDATION}", f"data.batch_size={8 if dry else batch_size}",
                f"data.limit={32 if dry else steps * batch_size}", f"training.precision={precision}",
            )  # fmt: skip
            threads = 1 if dry else torch.get_num_threads()
            device = "cpu" if dry else "cuda"
            workload = Workload(f"{net}, {precision}", preset, 1, threads, overrides, device)
            effort = Effort(rounds=1, window=2.0) if dry else QUICK
            results.append(measure(workload, len(os.sched_getaffinity(0)), home / "runs", effort))
    return results


def _decode_images(folder: Path, file: Path) -> None:
    """Write all images in `folder` (one subfolder per class) to `file` as one uint8 array."""
    paths = sorted(folder.glob("*/*.jpg"))
    classes = sorted({path.parent.name for path in paths})
    inputs = np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in paths])
    np.savez(file, inputs=inputs, targets=np.array([classes.index(path.parent.name) for path in paths]))


def _images(home: Path, arguments: argparse.Namespace) -> Path:
    """A folder with the training images and, as `val`, the test images, so that presets evaluate on them."""
    images, found = home / "images", home / "cifar"
    images.mkdir()
    if arguments.dry_run:
        _write_noise_images(found)
    elif arguments.cifar:
        found = Path(arguments.cifar).resolve()
    else:
        archives = [root / ARCHIVE for root in (ROOT, ROOT.parent) if (root / ARCHIVE).exists()]
        if not archives:
            sys.exit(f"benchmarks.gpu: {ARCHIVE} was not found in {ROOT} or its parent; use --cifar FOLDER")
        with tarfile.open(archives[0]) as packed:
            packed.extractall(found, filter="data")
    (images / "train").symlink_to(found / "train")
    (images / "val").symlink_to(found / "test")
    return images


def _write_noise_images(folder: Path) -> None:
    """Write a few images of noise."""
    random = np.random.default_rng(0)
    for number in range(120):
        part, name = ("train", "test")[number % 3 == 0], f"class{number % 10}"
        path = folder / part / name / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)


def _dry_overrides(dry: bool) -> tuple[str, ...]:
    return ("training.epochs=1", "training.device=cpu", "data.batch_size=8") if dry else ()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument(
        "--cifar", metavar="FOLDER", help="CIFAR-10 as train/CLASS/*.jpg and test/CLASS/*.jpg"
    )
    parser.add_argument("--only", choices=PARTS, help="measure only this part")
    parser.add_argument(
        "--dry-run", action="store_true", help="run everything on the CPU with a few images of noise"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
