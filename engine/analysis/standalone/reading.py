"""Turns files into inputs of the model, as input.json says. Used by predict.py."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

About = dict[str, Any]
"""What input.json says."""

GAPS = {
    *("", "?", "-", "--", "---", ".", "..", "...", "*", "na", "n/a", "n.a.", "<na>", "nan", "-nan", "null"),
    *("none", "nil", "#na", "#n/a", "#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "#null!"),
    *("#div/0!", "#value!", "#ref!", "#num!", "#name?"),
}
"""Texts that mean that there is no number, in lower case."""

LARGEST = 3.4e38
"""Numbers beyond it do not fit into 32 bits."""


SUFFIXES = {
    "images": (
        *(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"),
        *(".gif", ".jfif", ".jp2", ".avif"),
    ),
    "texts": (".txt", ".csv"),
    "table": (".csv",),
    "arrays": (".npz", ".pt", ".pth"),
}
"""Ends of the names of the files that are read in a folder."""


def find_files(given: list[str], about: About) -> Iterator[Path]:
    """Yield the files, and those in the folders that the model may be for."""
    for path in map(Path, given):
        inside = [each for each in sorted(path.rglob("*")) if not each.is_dir()] if path.is_dir() else []
        yield from (each for each in inside if each.suffix.lower() in SUFFIXES[about["kind"]])
        yield from [] if path.is_dir() else [path]


def read(file: Path, about: About) -> Tensor:
    """Return the inputs (N, ...) of a file. Raises OSError, ValueError, LookupError or RuntimeError."""
    readers = {"images": read_image, "arrays": read_arrays, "table": read_table, "texts": read_texts}
    return readers[about["kind"]](file, about)


def read_image(file: Path, about: About) -> Tensor:
    """Return an image (1, C, H, W), upright, in the colors of the training images, and normalized."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(file.read_bytes())) as opened:  # a pipe allows no seeking
        image: Any = ImageOps.exif_transpose(opened)
    in_folder = about["source"] == "ImageFolder"
    grey = not in_folder and about["input_shape"][0] == 1
    if image.mode == "F" or image.mode.startswith("I"):  # grey with more than 8 bits
        pixels: Tensor = torch.frombuffer(bytearray(image.convert("F").tobytes()), dtype=torch.float32)
        pixels = pixels.view(1, image.height, image.width) / (1 if image.mode == "F" else 65535)
        pixels = pixels if grey else pixels.repeat(3, 1, 1)
        pixels = (pixels * 255).round().byte() if in_folder and not about["deep_images"] else pixels
    else:
        image = on_background(image).convert("RGB").convert("L" if grey else "RGB")
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        pixels = pixels.view(image.height, image.width, -1).movedim(-1, 0)
        pixels = pixels / 255 if about["deep_images"] else pixels
    return normalize(transform(about)(pixels), about).unsqueeze(0)


def on_background(image: Any) -> Any:
    """Put white behind what is transparent; or black, if the image would vanish on white."""
    from PIL import Image

    if image.mode not in ("LA", "La", "PA", "RGBA", "RGBa") and "transparency" not in image.info:
        return image
    image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    colors, alpha = image.convert("RGB"), image.getchannel("A")
    if not alpha.getextrema()[1]:
        return colors
    white = Image.new("RGB", image.size, "white")
    visible: Any = Image.composite(colors, white, alpha.point(lambda value: 255 * (value > 0)))
    is_light = min(darkest for darkest, _ in visible.getextrema()) >= 248
    return Image.composite(colors, Image.new("RGB", image.size, "black") if is_light else white, alpha)


def read_arrays(file: Path, about: About) -> Tensor:
    """Return the inputs in a file of torch.save or, if NumPy is installed, an .npz file."""
    name = about["arguments"].get("inputs", "inputs")
    arrays = load_arrays(file)
    shape = ", ".join(map(str, ["N", *about["input_shape"]]))
    if name not in arrays:
        found = ", ".join(map(str, arrays)) or "no array"
        raise ValueError(f"it has no array {name!r} of shape ({shape}), but {found}")
    values = to_tensor(arrays[name])
    if values is None or not values.ndim or not len(values):
        found = getattr(arrays[name], "dtype", type(arrays[name]).__name__)
        found = found if values is None else f"shape {tuple(values.shape)}"
        raise ValueError(f"{name!r} must be an array of numbers of shape ({shape}), but it is of {found}")
    if values.is_floating_point() and not values.isfinite().all():
        raise ValueError("it has nan or infinite values")
    precise = values.dtype not in (torch.uint8, torch.float32, torch.float16, torch.bfloat16)
    if values.dtype == torch.uint8 and values.ndim in (3, 4):  # images
        values = values.unsqueeze(1) if values.ndim == 3 else values
        last = values.shape[1] not in (1, 3, 4) and values.shape[-1] in (1, 3, 4)
        values = values.movedim(-1, 1) if last else values
    elif not values.is_floating_point() and values.dtype != torch.bool and about["normalize"] == "none":
        return values.long()
    elif values.dtype != torch.uint8:
        doubles = about["source"] in ("NPZ", "Tensors") and (
            values.ndim == 2 or (precise and values.ndim == 3)
        )
        values = values.double() if doubles and not about["transforms"] else values.float()
    return torch.stack([normalize(transform(about)(row), about) for row in values])


def to_tensor(array: Any) -> Tensor | None:
    """Return a tensor or an array of NumPy as a tensor; None for what has no numbers."""
    if isinstance(array, Tensor):
        return array
    kind = getattr(getattr(array, "dtype", None), "kind", "none")
    if kind == "u" and array.itemsize > 1:
        array = array.astype("float32" if array.itemsize == 2 else "int64")
    return torch.from_numpy(array) if kind in "biuf" else None


def load_arrays(file: Path) -> dict[str, Any]:
    """Return the arrays or tensors of a file by name. Raises OSError, or ValueError for another file."""
    content = io.BytesIO(file.read_bytes())  # a pipe can be read once only
    load: Callable[[Any], Any] = partial(torch.load, weights_only=True, map_location="cpu")
    if is_npz(file, content):
        try:
            import numpy
        except ImportError as error:
            raise ValueError("install numpy: .npz files are read with it") from error
        load = numpy.load
    content.seek(0)
    try:
        arrays = load(content)
        if hasattr(arrays, "files"):  # an .npz file reads its arrays when they are used
            arrays = dict(arrays)
    except Exception as error:  # the libraries raise errors of any type, with advice for other programs
        raise ValueError("it is neither an .npz file nor a dictionary of torch.save") from error
    if not isinstance(arrays, dict):
        raise ValueError(f"it has a {type(arrays).__name__}, not a dictionary of tensors")
    return arrays


def is_npz(file: Path, content: io.BytesIO) -> bool:
    """Whether NumPy reads a file: its suffix says so, or else its content, as a pipe has no suffix."""
    if file.suffix in (".npz", ".pt", ".pth"):
        return file.suffix == ".npz"
    try:
        names = zipfile.ZipFile(content).namelist()
    except zipfile.BadZipFile:
        return False
    return any(name.endswith(".npy") for name in names)


def transform(about: About) -> Callable[[Tensor], Tensor]:
    """Return the transforms of torchvision, in order."""
    if not about["transforms"]:
        return lambda values: values
    try:
        from torchvision.transforms import v2
    except RuntimeError:  # its compiled operators, which are not used, were built for another torch
        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from torchvision.transforms import v2

    def build(step: dict[str, Any]) -> Callable[[Tensor], Tensor]:
        options = {key: value for key, value in step.items() if key != "name"}
        if isinstance(options.get("interpolation"), str):
            options["interpolation"] = v2.InterpolationMode(options["interpolation"])
        if isinstance(options.get("dtype"), str):
            options["dtype"] = getattr(torch, options["dtype"])
        if step["name"] == "ToTensor":
            return lambda values: values.float() / 255 if values.dtype == torch.uint8 else values.float()
        return getattr(v2, step["name"])(**options)  # type: ignore[no-any-return]

    return v2.Compose([build(step) for step in about["transforms"]])  # type: ignore[no-any-return]


def normalize(values: Tensor, about: About) -> Tensor:
    """Return one input as float32 with mean 0 and standard deviation 1; bytes are scaled to 0 to 1 first."""
    given = about["normalize"]
    if isinstance(given, str):
        return values.float() / 255 if values.dtype == torch.uint8 else values.float()
    shape = (1, -1) if values.ndim == 2 else (-1, *[1] * (values.ndim - 1))
    if len(given["mean"]) not in (1, *values.shape[values.ndim == 2 :][:1]):
        wanted = tuple(about["input_shape"])
        raise ValueError(f"an input has shape {tuple(values.shape)}, but the model takes {wanted}")
    dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
    mean, std = (torch.tensor(given[key], dtype=dtype).view(shape) for key in ("mean", "std"))
    if values.dtype == torch.uint8:
        return values * (1 / (255 * std)) - mean / std
    return ((values - mean) / std).float()


def read_table(file: Path, about: About) -> Tensor:
    """Return the rows of a CSV file: its numbers, normalized, then zeros and ones for its categories."""
    rows, lines = csv_rows(file, about["arguments"], [feature["name"] for feature in about["features"]])
    numbers: list[list[float]] = []
    categories: list[Tensor] = []
    for feature in about["features"]:
        texts = [row[feature["name"]] for row in rows]
        if feature["kind"] == "numeric":
            pairs = zip(texts, lines, strict=True)
            numbers.append([number(text, feature["name"], line) for text, line in pairs])
            continue
        known = {name: index for index, name in enumerate(feature["categories"])}
        encoded = torch.zeros(len(rows), len(known))
        for row, text in enumerate(texts):
            if text and text not in known:
                raise ValueError(
                    f"column {feature['name']!r} has {text!r} in line {lines[row]}, which the model was not "
                    "trained on"
                )
            if text and text not in feature["unseen"]:
                encoded[row, known[text]] = 1
        categories.append(encoded)
        if "" in texts and about["arguments"].get("missing") != "mean":
            line = lines[texts.index("")]
            raise ValueError(f"column {feature['name']!r} has an empty field in line {line}")
    values = torch.tensor(numbers, dtype=torch.float64).view(len(numbers), len(rows)).T
    if values.isnan().any():
        if about["arguments"].get("missing") != "mean":
            line = lines[int(values.isnan().any(dim=1).int().argmax())]
            raise ValueError(
                f"a number is missing in line {line}, and the model was trained without missing values"
            )
        values = torch.where(values.isnan(), torch.tensor(about["fills"], dtype=torch.float64), values)
    if isinstance(given := about["normalize"], dict):
        mean, std = (torch.tensor(given[key], dtype=torch.float64) for key in ("mean", "std"))
        values = (values - mean[: len(numbers)]) / std[: len(numbers)]
    return torch.cat([values.float(), *categories], dim=1)


def number(text: str, column: str, line: int) -> float:
    """Return a number written with a decimal point; nan if there is none."""
    lowered = text.lower()
    if lowered in GAPS or lowered in ("true", "false"):
        return float(lowered == "true") if lowered not in GAPS else math.nan
    try:
        value = float("" if "_" in text else text)
    except ValueError as error:
        raise ValueError(f"column {column!r} has {text!r} in line {line}, which is not a number") from error
    if not abs(value) < LARGEST:
        raise ValueError(f"column {column!r} has {text!r} in line {line}, which is too large")
    return value


def csv_rows(
    file: Path, options: dict[str, Any], wanted: list[str]
) -> tuple[list[dict[str, str]], list[int]]:
    """Return the rows of a CSV file in UTF-8 with a header, and the line in which each starts."""
    try:
        content = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("it is not a text in UTF-8") from error
    sep = options.get("sep") or max(",;\t|", key=content.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=sep, skipinitialspace=True)
    rows, lines, line = [], [], 1
    for fields in reader:
        if fields:
            rows.append([unicodedata.normalize("NFC", field.strip()) for field in fields])
            lines.append(line)
        line = reader.line_num + 1
    if not rows:
        raise ValueError("it is empty")
    names = rows[0]
    if missing := [name for name in wanted if name not in names]:
        raise ValueError(f"it has no column {', '.join(map(repr, missing))}")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(names):
            raise ValueError(f"line {line} has {len(row)} of {len(names)} fields")
    return [dict(zip(names, row, strict=True)) for row in rows[1:]], lines[1:]


def read_texts(file: Path, about: About) -> Tensor:
    """Return the tokens (N, T) of a text file, or of the texts in a column of a CSV file."""
    options = about["arguments"]
    column = options.get("text")
    if about["source"] == "CSV":
        texts = [row[column] for row in csv_rows(file, options, [column])[0]]
    else:
        texts = [file.read_bytes().decode("utf-8-sig")]
    words = options.get("tokenizer", "words") == "words"
    vocabulary = options["vocabulary"].split(" ") if words else options["vocabulary"]
    known = {token: index for index, token in enumerate(vocabulary, 2)}  # 0 is padding, 1 is unknown
    tokens = torch.zeros(len(texts), *about["input_shape"], dtype=torch.int64)
    for row, text in zip(tokens, texts, strict=True):
        text = unicodedata.normalize("NFC", text)
        text = text.lower() if options.get("lowercase", words) else text
        found = [known.get(token, 1) for token in (re.findall(r"\w+|[^\w\s]", text) if words else text)]
        row[: len(found)] = torch.tensor(found[: len(row)], dtype=torch.int64)
    return tokens
