"""Predicts for files with the model in this folder: python predict.py FILE_OR_FOLDER...

Prints a line of CSV for each image, text or row of a table. README.md says what must be installed.
"""

from __future__ import annotations

import csv
import json
import os
import stat
import sys
from pathlib import Path

import torch
from reading import find_files, read  # type: ignore[import-not-found]  # the file beside this one

HERE = Path(__file__).resolve().parent


def main(given: list[str]) -> int:
    """Return 0, or 1 if some files cannot be used, or there are none: the reasons are printed to stderr."""
    about = json.loads((HERE / "input.json").read_text(encoding="utf-8"))
    model = torch.export.load(HERE / "model.pt2").module()
    classes, shape = about["classes"], tuple(about["input_shape"])
    names = ["class", "probability"] if classes else about["values"]
    output = csv.writer(sys.stdout, lineterminator="\n")
    output.writerow(["file", "row", *names])
    failed = 0
    files, named = list(find_files(given, about)), set(map(Path, given))
    if not files:
        print(f"error: no file for this model ({about['kind']}) in {', '.join(given)}", file=sys.stderr)
        return 1
    for file in files:
        try:
            # A path that is named may be a pipe; a FIFO that is found in a folder would wait for its writer.
            if file not in named and not stat.S_ISREG(file.stat().st_mode):
                raise ValueError("not a regular file")
            inputs = read(file, about)
            if tuple(inputs.shape[1:]) != shape:
                raise ValueError(f"an input has shape {tuple(inputs.shape[1:])}, but the model takes {shape}")
            with torch.inference_mode():
                found = torch.cat([model(part) for part in inputs.split(256)]).tolist()
        except Exception as error:  # noqa: BLE001 - libraries raise errors of any type for damaged files
            print(f"error: {file}: {error}", file=sys.stderr)
            failed = 1
            continue
        for number, values in enumerate(found, 1):
            best = max(range(len(values)), key=values.__getitem__)
            cells = [f"{value:.9g}" for value in values]  # models compute in float32: 9 digits
            output.writerow([file, number, *([classes[best], cells[best]] if classes else cells)])
    sys.stdout.flush()
    return failed


if __name__ == "__main__":
    try:
        sys.exit(__doc__ if sys.argv[1:] in ([], ["-h"], ["--help"]) else main(sys.argv[1:]))
    except BrokenPipeError:  # the reader, such as head, has enough; Python would complain again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
