"""What needs a GPU: `python -m benchmarks.gpu` (`make bench-gpu`) writes benchmarks/results-gpu.json.

SimpleCNNv3 and ResNet9 on CIFAR-10 against the loops by hand, in fp32 and in what `precision = "auto"` comes
to there, with and without a console; then the two presets from start to end: accuracy, time, and how busy the
GPU is. What is measured is written down part by part. All of it takes about a quarter of an hour; `--only`
has one part measured anew, beside what the file holds of the others at the same commit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import document, report
from benchmarks.accuracy import figures_of
from benchmarks.figures import Figure
from benchmarks.machine import on_record
from benchmarks.speed import QUICK, Effort, Speeds, measure
from benchmarks.terminal import own_home
from benchmarks.workloads import Workload

RESULTS = Path(__file__).with_name("results-gpu.json")
ARCHIVE = Path("shared", "data", "cifar10-jpeg.tar.xz")
ROOT = Path(__file__).resolve().parents[1]
SPEED = "speed"
PARTS = (SPEED, "cifar10-resnet9", "cifar10-simple-v3")
NETS = {"SimpleCNNv3": ("cifar10-simple-v3", 32, 400), "ResNet9": ("cifar10-resnet9", 512, 50)}
"""Preset, batch size, and steps of the epoch that an arm trains."""

VALIDATION = 512


def main() -> int:
    """Do what the command line asks for; returns the exit status."""
    arguments = _parser().parse_args()
    if not torch.cuda.is_available() and not arguments.dry_run:
        print("benchmarks.gpu: torch sees no CUDA device here, so nothing was measured")
        return 0
    about = {
        **on_record(),
        "dry_run": arguments.dry_run,
        "rounds": 1 if arguments.dry_run else QUICK.rounds,
    }
    speeds: list[Speeds] = []
    figures: list[Figure] = []
    with own_home() as home:
        images = _images(Path(home), arguments)
        for part in [arguments.only] if arguments.only else PARTS:
            print(f"measuring {part}", flush=True)
            if part == SPEED:
                speeds = _speeds(Path(home), images, dry=arguments.dry_run)
            else:
                figures += figures_of(part, images, Path(home, "runs"), _dry_overrides(arguments.dry_run))
            results = document.compose(about, speeds, figures)
            if arguments.only and RESULTS.exists():
                results = _beside(document.read(RESULTS), results, part)
            document.write(results, RESULTS)
    print(report.as_text(results))
    return 0


def _beside(before: document.Document, now: document.Document, part: str) -> document.Document:
    """What was measured of one part `now`, with what the others came to `before` at the same commit."""
    if before["commit"] != now["commit"]:
        return now
    if part == SPEED:
        return now | {"figures": before["figures"]}
    others = [figure for figure in before["figures"] if not figure["name"].startswith(part)]
    return before | {"figures": others + now["figures"]}


def _speeds(home: Path, images: Path, *, dry: bool) -> list[Speeds]:
    file = home / "cifar.npz"
    _decode(images / "train", file)
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


def _decode(folder: Path, file: Path) -> None:
    """All images below `folder`, one folder for each class, as one array of bytes."""
    paths = sorted(folder.glob("*/*.jpg"))
    classes = sorted({path.parent.name for path in paths})
    inputs = np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in paths])
    np.savez(file, inputs=inputs, targets=np.array([classes.index(path.parent.name) for path in paths]))


def _images(home: Path, arguments: argparse.Namespace) -> Path:
    """A folder with the training images and, as `val`, the test images, which presets then evaluate on."""
    images, found = home / "images", home / "cifar"
    images.mkdir()
    if arguments.dry_run:
        _draw(found)
    elif arguments.cifar:
        found = Path(arguments.cifar).resolve()
    else:
        there = [root / ARCHIVE for root in (ROOT, ROOT.parent) if (root / ARCHIVE).exists()]
        if not there:
            sys.exit(f"benchmarks.gpu: there is no {ARCHIVE} in {ROOT} or above: name a folder with --cifar")
        with tarfile.open(there[0]) as packed:
            packed.extractall(found, filter="data")
    (images / "train").symlink_to(found / "train")
    (images / "val").symlink_to(found / "test")
    return images


def _draw(folder: Path) -> None:
    """A few images of noise."""
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
    parser.add_argument("--only", choices=PARTS, help="measure this part alone")
    parser.add_argument(
        "--dry-run", action="store_true", help="all of it on the CPU, with a few images of noise"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
