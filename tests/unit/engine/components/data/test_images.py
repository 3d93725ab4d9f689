"""Decoding of images: all modes keep their content, EXIF orientation, and files that cannot be decoded."""

from __future__ import annotations

import errno
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.support.data_files import all_of, load, load_user_dataset, write_images
from torchconsole.engine.components.data.decoding import to_tensor
from torchconsole.engine.components.data.images import UPRIGHT, UnreadableError, decode_file
from torchconsole.engine.errors import DataError

RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
"""Grey values of a small image; the first is black."""


def encoded(image: Image.Image, suffix: str, **options: Any) -> Image.Image:
    """Write an image and open it again, as from a file."""
    file = io.BytesIO()
    image.save(file, suffix, **options)
    return Image.open(file)


def big_endian_tiff(pixels: np.ndarray[Any, Any]) -> bytes:
    """Return a TIFF file of 16-bit greyscale with the most significant byte first."""
    height, width = pixels.shape
    raw = pixels.astype(">u2").tobytes()
    short, long = 3, 4
    tags = [
        *((256, short, width), (257, short, height), (258, short, 16), (259, short, 1), (262, short, 1)),
        *((273, long, 8), (277, short, 1), (278, short, height), (279, long, len(raw))),
    ]
    entries = [
        struct.pack(">HHI", tag, kind, 1)
        + (struct.pack(">HH", value, 0) if kind == short else struct.pack(">I", value))
        for tag, kind, value in tags
    ]
    directory = struct.pack(">H", len(tags)) + b"".join(entries) + struct.pack(">I", 0)
    return b"MM\0*" + struct.pack(">I", 8 + len(raw)) + raw + directory


DEEP = (np.arange(24).reshape(4, 6) * 50).astype(np.uint16)
"""Values of 12 bits in 16, as a microscope or a scanner writes them."""


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "TIFF, big-endian"])
def test_deep_greyscale_keeps_its_values(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "image"
    if kind == "TIFF, big-endian":
        file.write_bytes(big_endian_tiff(DEEP))
    else:
        Image.fromarray(DEEP).save(file, kind)
    found = decode_file(file, deep=True)
    assert (found.shape, found.dtype) == ((3, 4, 6), torch.float32)
    assert torch.equal((found[1] * 65535).round(), torch.from_numpy(DEEP.astype(np.float32)))
    with Image.open(file) as image:
        assert torch.equal(to_tensor(image), found[:1])


def test_floats_stay_as_they_are(tmp_path: Path) -> None:
    values = np.linspace(-2, 3, 24, dtype=np.float32).reshape(4, 6)
    Image.fromarray(values).save(tmp_path / "image.tif")
    assert torch.equal(decode_file(tmp_path / "image.tif", deep=True)[2], torch.from_numpy(values))


@pytest.mark.parametrize("kinds", [("deep", "deep"), ("deep", "bytes"), ("bytes", "deep")])
def test_a_folder_of_deep_images_trains_on_their_content(kinds: tuple[str, str], tmp_path: Path) -> None:
    for label, (name, kind) in enumerate(zip(("dark", "light"), kinds, strict=True)):
        (tmp_path / name).mkdir()
        for number in range(4):
            value = 20 + 100 * label + number
            pixels = np.full((4, 4), value, dtype=np.uint8)
            pixels = pixels.astype(np.uint16) * 257 if kind == "deep" else pixels
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    data = load("ImageFolder", root=str(tmp_path), val_split=2, normalize="none")
    inputs, targets = all_of(data.train)
    assert (inputs.shape[1:], inputs.dtype) == ((3, 4, 4), torch.float32)
    means = (inputs.mean((1, 2, 3)) * 255).tolist()
    assert all(abs(mean - 20 - 100 * int(label)) < 4 for mean, label in zip(means, targets, strict=True))
    assert "images with more than 8 bits are read as floats, 16 bits as 0 to 1" in data.notes


@pytest.mark.parametrize("name", ["DatasetFolder", "EuroSAT"])
def test_deep_images_of_other_datasets_keep_their_values(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "eurosat" / "2750"
    for number in range(8):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(DEEP + number).save(folder / "ab"[number % 2] / f"{number}.png")
    keys = {"root": str(folder), "extensions": [".png"]}
    keys = keys if name == "DatasetFolder" else {"root": str(tmp_path)}
    data = load(name, normalize="none", **keys)
    assert "images with more than 8 bits are read as floats, 16 bits as 0 to 1" in data.notes
    inputs, _ = all_of(data.train)
    base = torch.from_numpy(DEEP.astype(np.float32))
    values = {int(value) for image in inputs for value in ((image[0] * 65535).round() - base).flatten()}
    assert len(values) == len(inputs)


def test_a_deep_image_among_others_keeps_8_bits(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "image.png")
    assert torch.equal(decode_file(tmp_path / "image.png")[0], torch.from_numpy(RAMP))


def test_a_few_deep_images_among_many_are_found(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 100, "b": 99}, size=(4, 4))
    Image.fromarray((np.arange(16).reshape(4, 4) * 4000).astype(np.uint16)).save(tmp_path / "a" / "051.png")
    data = load("ImageFolder", root=str(tmp_path), val_split=2, normalize="none")
    assert "images with more than 8 bits are read as floats, 16 bits as 0 to 1" in data.notes


def test_a_deep_image_of_which_8_bits_keep_nothing_is_refused(tmp_path: Path) -> None:
    Image.fromarray(DEEP // 2).save(tmp_path / "image.png")
    with pytest.raises(UnreadableError, match="it has 16 bits and is so dark"):
        decode_file(tmp_path / "image.png")
    Image.fromarray(0 * DEEP).save(tmp_path / "image.png")
    assert not decode_file(tmp_path / "image.png").any()


def png_of_16_bits(pixels: np.ndarray[Any, Any]) -> bytes:
    """Return a PNG file (ISO 15948) of RGB values (H, W, 3) uint16."""
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


@pytest.mark.parametrize(("bits", "refused"), [(16, False), (10, True)])
def test_16_bits_per_color_are_read_with_8_unless_few_levels_are_left(
    tmp_path: Path, bits: int, refused: bool
) -> None:
    write_images(tmp_path, {"a": 4, "b": 4}, size=(4, 4))
    pixels = np.random.default_rng(0).integers(0, 1 << bits, (4, 4, 3))
    (tmp_path / "a" / "000.png").write_bytes(png_of_16_bits(pixels))
    if refused:
        with pytest.raises(DataError, match=r"000.png and others have 16 bits per color.* up to 1,023"):
            load("ImageFolder", root=str(tmp_path), val_split=2)
    else:
        assert (
            "images with 16 bits per color are read with 8"
            in load("ImageFolder", root=str(tmp_path), val_split=2).notes
        )


@pytest.mark.parametrize(("scale", "other"), [(255.0, "16 bits"), (255.0, "8 bits"), (1.0, "16 bits")])
def test_floats_beyond_1_do_not_fit_images_that_are_read_as_0_to_1(
    tmp_path: Path, scale: float, other: str
) -> None:
    (tmp_path / "a").mkdir()
    write_images(tmp_path, {"b": 4}, size=(4, 4))
    for number in range(4):
        values = np.linspace(0, scale, 16, dtype=np.float32).reshape(4, 4)
        Image.fromarray(values).save(tmp_path / "a" / f"{number}.tif")
        if other == "16 bits":
            deep = np.full((4, 4), 40_000, dtype=np.uint16)
            Image.fromarray(deep).save(tmp_path / "b" / f"{number:03}.png")
    if scale > 1:
        with pytest.raises(DataError, match=rf"0.tif and others have floats up to 255, but .* has {other}"):
            load("ImageFolder", root=str(tmp_path), val_split=2)
    else:
        assert (
            all_of(load("ImageFolder", root=str(tmp_path), val_split=2, normalize="none").train)[0].max() == 1
        )


@pytest.mark.parametrize(("kind", "levels"), [("uint16", 4096), ("uint16", 1024), ("int32", 256)])
def test_deep_images_of_few_levels_do_not_fit_others(tmp_path: Path, kind: str, levels: int) -> None:
    """They would be almost black, which may even tell the classes apart."""
    (tmp_path / "a").mkdir()
    for number in range(4):
        values = np.random.default_rng(number).integers(0, levels, (4, 4)).astype(kind)
        Image.fromarray(values).save(tmp_path / "a" / f"{number}.tif")
    write_images(tmp_path, {"b": 4}, size=(4, 4))
    with pytest.raises(DataError, match=r"0.tif and others have 16 bits, but only values up to .*b/000.*"):
        load("ImageFolder", root=str(tmp_path), val_split=2)


@pytest.mark.parametrize(("scale", "noted"), [(1.0, False), (255.0, True)])
def test_floats_of_two_scales_are_noted(tmp_path: Path, scale: float, noted: bool) -> None:
    for name, factor in (("a", 1.0), ("b", scale)):
        (tmp_path / name).mkdir()
        for number in range(4):
            values = np.linspace(0, factor, 16, dtype=np.float32).reshape(4, 4)
            Image.fromarray(values).save(tmp_path / name / f"{number}.tif")
    notes = load("ImageFolder", root=str(tmp_path), val_split=2).notes
    assert any("images of floats have different ranges" in note for note in notes) == noted


@pytest.mark.parametrize(("suffix", "frames"), [("tif", 3), ("gif", 3), ("gif", 1)])
def test_frames_that_are_not_read_are_noted(tmp_path: Path, suffix: str, frames: int) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(4):
            images = [Image.fromarray(RAMP + 5 * frame) for frame in range(frames)]
            path = tmp_path / name / f"{number}.{suffix}"
            images[0].save(path, save_all=True, append_images=images[1:])
    notes = load("ImageFolder", root=str(tmp_path), val_split=2).notes
    noted = f"only the first frame of an image is read; {tmp_path / 'a'}/0.{suffix} has several"
    assert (noted in notes) == (frames > 1)


@pytest.mark.parametrize("kind", ["tif", "npy", "pt"])
def test_values_that_are_no_numbers_are_told_with_their_file(tmp_path: Path, kind: str) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(4):
            values = np.ones((4, 4), dtype=np.float32) * number
            values[1] = np.nan if (name, number) == ("b", 2) else 0
            file = tmp_path / name / f"{number}.{kind}"
            if kind == "tif":
                Image.fromarray(values).save(file)
            elif kind == "npy":
                np.save(file, values)
            else:
                torch.save(torch.from_numpy(values), file)
    source = "ImageFolder" if kind == "tif" else "DatasetFolder"
    with pytest.raises(DataError, match=rf"cannot read .*b/2.{kind}: .*it has nan or infinite values"):
        all_of(load(source, root=str(tmp_path), val_split=1).train)
    data = load(source, root=str(tmp_path), val_split=1, on_corrupt="skip")
    assert torch.isfinite(all_of(data.train)[0]).all()


def grey(image: Image.Image) -> Tensor:
    return to_tensor(image).float().mean(0)


def palette(image: Image.Image) -> Image.Image:
    return image.convert("RGB").quantize(colors=64, dither=Image.Dither.NONE)


COLORS = np.stack([RAMP, 255 - RAMP, np.full_like(RAMP, 90)], axis=-1)


@pytest.mark.parametrize("mode", ["palette", "CMYK", "YCbCr", "HSV", "RGBA", "RGBX", "PA"])
def test_modes_of_color_become_rgb(mode: str) -> None:
    image = Image.fromarray(COLORS)
    converted = palette(image) if mode in ("palette", "PA") else image.convert(mode)
    found = to_tensor(converted.convert("PA") if mode == "PA" else converted)
    expected = torch.from_numpy(COLORS).movedim(-1, 0)
    assert (found.shape, found.dtype) == ((3, 4, 6), torch.uint8)
    assert (found.int() - expected.int()).abs().max() <= 8


@pytest.mark.parametrize("mode", ["L", "1", "LA", "La"])
def test_modes_of_greyscale_stay_greyscale(mode: str) -> None:
    image = Image.fromarray(np.where(RAMP > 100, 255, 0).astype(np.uint8))
    found = to_tensor((image.convert("LA") if mode == "La" else image).convert(mode))
    assert found.shape == (1, 4, 6)
    assert torch.equal(found[0], torch.from_numpy(np.array(image)))


SHAPE = np.zeros((4, 6), dtype=np.uint8)
SHAPE[1:3, 2:5] = 255


@pytest.mark.parametrize("color", [0, 128, 255])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_transparent_image_shows_what_is_visible(color: int, mode: str) -> None:
    """A shape that only the transparency has, in black or white, can be seen."""
    image = Image.new("L", (6, 4), color).convert(mode)
    image.putalpha(Image.fromarray(SHAPE))
    found = grey(image)
    inside, outside = found[SHAPE > 0], found[SHAPE == 0]
    assert (inside == color).all()
    assert (outside == outside[0]).all()
    assert (inside - outside[0]).abs().min() > 100


def test_a_transparent_color_and_hidden_pixels() -> None:
    keyed = encoded(Image.fromarray(RAMP), "PNG", transparency=0)
    assert grey(keyed)[0, :2].tolist() == [255, 10]
    invisible = Image.fromarray(COLORS).convert("RGBA")
    invisible.putalpha(0)
    assert torch.equal(to_tensor(invisible), torch.from_numpy(COLORS).movedim(-1, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, suffix: str, tmp_path: Path) -> None:
    upright = Image.fromarray(COLORS)
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    stored = upright.transpose(UPRIGHT[undo]) if undo in UPRIGHT else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "WEBP" else {}
    stored.save(tmp_path / "image", suffix, exif=exif, **options)
    expected = torch.from_numpy(COLORS).movedim(-1, 0)
    assert torch.equal(decode_file(tmp_path / "image"), expected)
    with Image.open(tmp_path / "image") as image:
        assert torch.equal(to_tensor(image), expected)
    with Image.open(tmp_path / "image") as image:
        upright = image.transpose(UPRIGHT.get(image.getexif().get(0x0112, 1), Image.Transpose.ROTATE_180))
        for changed in (upright, image.crop((1, 0, 4, 2)), image.resize((4, 4)), image.convert("RGB")):
            assert torch.equal(to_tensor(changed), torch.from_numpy(np.array(changed)).movedim(-1, 0))


def test_a_file_is_turned_whatever_size_its_exif_data_has(tmp_path: Path) -> None:
    """A program that made it smaller may have kept the size as taken."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0xA002: 60, 0xA003: 40})
    Image.fromarray(COLORS).save(tmp_path / "image.png", exif=exif)
    assert decode_file(tmp_path / "image.png").shape == (3, 6, 4)
    with Image.open(tmp_path / "image.png") as image:
        assert to_tensor(image).shape == (3, 6, 4)
    with Image.open(tmp_path / "image.png") as image:
        image.thumbnail((3, 2))
        assert to_tensor(image).shape == (3, 2, 3)


def test_an_image_that_was_resized_is_not_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0xA002: 6, 0xA003: 4})
    image = encoded(Image.fromarray(COLORS), "PNG", exif=exif)
    assert to_tensor(image).shape == (3, 6, 4)
    assert to_tensor(image.resize((3, 2))).shape == (3, 2, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_data_does_not_damage_the_image() -> None:
    image = encoded(Image.fromarray(COLORS), "PNG", exif=b"Exif\0\0MM\0*damaged")
    assert to_tensor(image).shape == (3, 4, 6)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def whole_file(suffix: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(file, suffix)
    return file.getvalue()


HUGE = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)

DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "text": b"<html>404 not found</html>",
    "decompression bomb": png((b"IHDR", HUGE), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")),
    "no header": png((b"IDAT", b""), (b"IEND", b"")),
    "short header": png((b"IHDR", b"\0\0\0\1")),
    "bad palette": png((b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 3, 0, 0, 0)), (b"PLTE", b"\0"),
                       (b"IDAT", b"x")),
    **{f"{suffix}, first {size} bytes": whole_file(suffix)[:size]
       for suffix in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP") for size in (12, 20, 29, 60, 300)},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_named_or_skipped(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "image"
    file.write_bytes(DAMAGED[kind])
    with pytest.raises(UnreadableError):
        decode_file(file)


@pytest.mark.parametrize("kind", ["decompression bomb", "short header", "PNG, first 20 bytes"])
@pytest.mark.parametrize("name", ["ImageFolder", "user code"])
def test_damaged_files_of_all_datasets_are_skipped(kind: str, name: str, tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(RAMP).save(tmp_path / "images" / label / f"{number}.png")
    (tmp_path / "images" / "a" / "0.png").write_bytes(DAMAGED[kind])
    keys: dict[str, Any] = {"root": str(tmp_path / "images"), "val_split": 2}

    def read(**more: Any) -> int:
        if name == "ImageFolder":
            data = load("ImageFolder", **keys, **more)
        else:
            attribute = "targets" if name == "user code" else "unknown"
            code = f"{USER}\n        self.{attribute} = [ord(f.parent.name) - 97 for f in self.files]"
            data = load_user_dataset(tmp_path / "own.py", "Own", code, **keys, **more)
        return len(all_of(data.train)[0]) + len(all_of(data.val)[0])

    with pytest.raises(DataError, match=r"cannot read .*0"):
        read()
    assert read(on_corrupt="skip") in (11, 12)


USER = """
from pathlib import Path
from PIL import Image
class Own(Dataset):
    def __len__(self):
        return len(self.files)
    def __getitem__(self, i):
        return Image.open(self.files[i]).convert("RGB"), ord(self.files[i].parent.name) - 97
    def __init__(self, root):
        self.files = sorted(Path(root).glob("*/*.png"))"""


FAILURES = {
    "files": (OSError(errno.EMFILE, "Too many open files"), r"ulimit -H?n"),
    "memory": (MemoryError(), r"memory is exhausted; lower data\.num_workers"),
    "kernel memory": (OSError(errno.ENOMEM, "Cannot allocate memory"), r"memory is exhausted"),
    "disk": (OSError(errno.EIO, "Input/output error"), r"check it, then resume the run"),
    "network": (OSError(errno.ESTALE, "Stale file handle"), r"check it, then resume the run"),
}


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("name", ["ImageFolder", "user code"])
def test_a_failure_of_the_system_is_no_corrupt_image(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else samples would be left out of a run that only has too few file handles or a slow server."""
    for number in range(12):
        (tmp_path / "images" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(RAMP).save(tmp_path / "images" / "ab"[number % 2] / f"{number}.png")
    keys: dict[str, Any] = {"root": str(tmp_path / "images"), "normalize": "none", "in_memory": False}
    keys |= {"val_split": 2, "on_corrupt": "skip", "num_workers": 0}
    if name == "ImageFolder":
        data = load("ImageFolder", **keys)
    else:
        code = f"{USER}\n        self.targets = [ord(f.parent.name) - 97 for f in self.files]"
        data = load_user_dataset(tmp_path / "own.py", "Own", code, **keys)
    error, message = FAILURES[kind]

    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(DataError, match=rf"cannot read .*{message}") as caught:
        all_of(data.train)
    assert not isinstance(caught.value, UnreadableError)
    assert not [note for note in data.notes if "cannot be read" in note]
