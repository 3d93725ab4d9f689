"""Reads images, texts, tables and arrays as inputs of a trained model, as an `InputDescription` says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from torchconsole.engine.components.data.datasets import InMemoryDataset
from torchconsole.engine.components.data.decoding import to_tensor
from torchconsole.engine.components.data.feature_scaling import scale_rows
from torchconsole.engine.components.data.images import decode_file, decode_image
from torchconsole.engine.components.data.in_memory import CPU
from torchconsole.engine.components.data.input_description import InputDescription
from torchconsole.engine.components.data.mean_std import Normalizer, expand_channels
from torchconsole.engine.components.data.measuring import MeanStd
from torchconsole.engine.components.data.sources import arrays, folders, tables, text_files
from torchconsole.engine.components.data.sources.folder_tree import Folder
from torchconsole.engine.components.data.system_failures import raise_system_failure
from torchconsole.engine.components.data.tables.dataset import TableDataset
from torchconsole.engine.components.data.tables.encoding import encode_features
from torchconsole.engine.components.data.tables.options import TableOptions
from torchconsole.engine.components.data.tables.reading import read_table
from torchconsole.engine.components.data.tables.recorded import recorded_columns, refuse_gaps
from torchconsole.engine.components.data.text_inputs import TextInputs
from torchconsole.engine.components.data.transforms import build_transform
from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.instantiate import UserCode, call
from torchconsole.engine.config.data_schema import DataConfig, NormalizeConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import error_summary

MOST_COLUMNS = 8
"""Columns that a message names."""


class Input(NamedTuple):
    """An input as the model takes it, and where it comes from."""

    tensor: Tensor
    """Normalized float32, or int64, of shape (*input_shape)."""
    row: int | None
    """The row in its file, from 1; None if it is the whole file."""
    line: int | None = None
    """The line in which the row starts, in a table or a list that is a text."""
    sample: Tensor | None = None
    """The image or array as it was read, before the transforms; None for others."""


class InputReader:
    """Reads the inputs of files; see `InputDescription`."""

    def __init__(self, description: InputDescription, user_code: UserCode) -> None:
        """Raises ComponentError for transforms or a tokenizer that cannot be built, or TrustError."""
        self._description = description
        self._transform = build_transform("data.transforms.val", description.transforms, user_code)
        self._config = DataConfig(
            name=description.source, normalize=description.normalize, **description.arguments
        )
        self._texts = TextInputs(self._config) if description.kind == "texts" else None

    @property
    def spec(self) -> DataSpec:
        """What the model must have been built for."""
        vocab_size = self._texts.vocab_size if self._texts else None
        return replace(self._description.spec, vocab_size=vocab_size)

    @property
    def expected(self) -> str:
        """What inputs of this run are, for messages."""
        described = self._description
        if described.kind == "images":
            return "image files and folders of images"
        if described.kind == "arrays":
            name, shape = arrays.array_names(self._config).inputs, ("N", *described.input_shape)
            return (
                f".npz files, and files of torch.save, with an array {name!r} of shape "
                f"({', '.join(map(str, shape))})"
            )
        if self._texts:
            return self._texts.expected
        names = [feature.name for feature in described.features]
        more = f" and {len(names) - MOST_COLUMNS:,} more" if len(names) > MOST_COLUMNS else ""
        return f"{described.source} files with the columns {', '.join(names[:MOST_COLUMNS])}{more}"

    def misfit(self, shape: Sequence[int]) -> str:
        """Return why the model does not take an input of a shape, and what this run takes."""
        wanted = tuple(self._description.input_shape)
        axes = " (channels, height, width)" if self._description.has_images else ""
        return f"expected inputs of shape {wanted}{axes}, got {tuple(shape)}; this run takes {self.expected}"

    def files(self, path: Path) -> list[Path]:
        """Return the file itself, or the files of a folder that can be read. Raises DataError if none."""
        if not path.exists():
            raise DataError("there is no such file")
        if not path.is_dir():
            return [path]
        if self._description.kind != "images" and self._description.source not in text_files.SOURCES:
            raise DataError(f"it is a folder; this run takes {self.expected}")
        suffixes = self._suffixes()
        found = Folder(path, suffixes).all_samples()
        if not found:
            raise DataError(f"no file in this folder ends with {', '.join(suffixes[:4])} or the like")
        return list(map(Path, found))

    def read(self, path: Path, *, with_targets: bool = False) -> Iterator[Input]:
        """Yield the inputs of a file or a pipe. Raises DataError for a file or a row that cannot be used.

        The message about a table `with_targets` also names the target columns that are missing.
        """
        if path.is_fifo():
            yield from self._read_content(_read_pipe(path), path.name)
            return
        if self._description.kind == "images":
            try:
                sample = self._read_sample(path)
            except DataError as error:
                if not isinstance(error.__cause__, UnidentifiedImageError):
                    raise
                raise DataError(f"it is not an image; this run takes {self.expected}") from error
            yield Input(self._prepared(sample), None, sample=sample)
            return
        if self._texts:
            tokens, lines = self._texts.read(path, with_targets=with_targets)
            for number, (row, line) in enumerate(zip(tokens, chain(lines, repeat(None)), strict=False), 1):
                yield Input(row, number if self._texts.has_rows else None, line)
            return
        if self._description.kind == "table":
            rows, scaled, lines = self._read_table(path, with_targets=with_targets)
            for number, (row, line) in enumerate(zip(rows, chain(lines, repeat(None)), strict=False), 1):
                yield Input(row if scaled else self._prepared(row), number, line)
            return
        rows, scaled = self._read_arrays(path)
        for number, row in enumerate(rows, 1):
            yield Input(row if scaled else self._prepared(row), number, sample=row)

    def read_stream(self, content: bytes) -> Iterator[Input]:
        """Yield the inputs of what standard input has: each line if the run takes texts, else as of a file.

        Raises DataError for content that cannot be used.
        """
        if not content:
            raise DataError("it is empty")
        if self._texts:
            for number, tokens in enumerate(self._texts.read_lines(content), 1):
                yield Input(tokens, number, number)
            return
        yield from self._read_content(content, "standard input")

    def _read_content(self, content: bytes, name: str) -> Iterator[Input]:
        """Yield the inputs of what can be read once only, as of a file of that name."""
        with tempfile.TemporaryDirectory(prefix="torchconsole-") as folder:
            file = Path(folder, name)
            try:
                file.write_bytes(content)
            except OSError as error:
                raise DataError(f"cannot write {file}: {error.strerror}") from error
            try:
                yield from self.read(file)
            except DataError as error:
                raise DataError(str(error).replace(str(file), file.name)) from error

    def _suffixes(self) -> tuple[str, ...]:
        if self._texts:
            return text_files.SUFFIXES
        if self._description.source == "DatasetFolder":
            kind: folders.DatasetFolder = call("data", folders.DatasetFolder, {}, self._config.arguments)
            return kind.suffixes
        return folders.IMAGE_SUFFIXES

    def _read_sample(self, path: Path) -> Tensor:
        """Read a file of one sample as the run's source does; (C, H, W) bytes or float32 for an image."""
        source, decode = self._description.source, partial(decode_file, deep=self._description.deep_images)
        if source in folders.SOURCES:
            is_image = source == "ImageFolder"
            return decode(path) if is_image else to_tensor(folders.load_file(str(path), decode=decode))
        # The sets of torchvision have images in memory; a file of a user's own may have other colors.
        mode = "L" if self._description.input_shape[0] == 1 else "RGB"
        try:
            with Image.open(path) as image:
                found = decode_image(image)
        except OSError as error:
            raise_system_failure(error)
            raise DataError(f"it cannot be read: {error_summary(error)}") from error
        if mode == "RGB":
            return found.expand(3, -1, -1) if len(found) == 1 else found
        return (
            to_tensor(Image.fromarray(found.movedim(0, -1).numpy()).convert("L"))
            if len(found) == 3
            else found
        )

    def _read_arrays(self, path: Path) -> tuple[Tensor, bool]:
        """Return the inputs (N, ...), and whether they are normalized: float64 without transforms."""
        inputs = arrays.read_inputs(path, self._config, self.expected)
        if inputs.dtype != torch.float64:
            return inputs, False
        mean_std = None if self._transform else self._mean_std(inputs[0], torch.float64)
        return scale_rows(
            InMemoryDataset(inputs, torch.zeros(len(inputs))), mean_std
        ).inputs, self._transform is None

    def _read_table(self, path: Path, *, with_targets: bool) -> tuple[Tensor, bool, Iterable[int]]:
        """Return the rows (N, F) float32, whether they are normalized, and their lines."""
        described = self._description
        options: TableOptions = call("data", tables.OPTIONS[described.source], {}, described.arguments)
        table = read_table(path, options)
        columns = recorded_columns(table, described.features, options, with_targets=with_targets)
        count = len(table.frame)
        dataset, _ = encode_features(
            columns, np.ones(count, dtype=bool), torch.zeros(count), options, path.name, keep_categories=True
        )
        if options.missing != "mean":
            refuse_gaps(columns, table.locate, path)
        dataset = self._filled(dataset)
        seen = [
            torch.tensor([name not in feature.unseen for name in feature.categories], dtype=torch.bool)
            for feature in described.features
            if feature.kind == "categorical"
        ]
        dataset = dataset.keep_categories(seen)
        unscaled = torch.arange(dataset.width) >= dataset.inputs.shape[1]
        example = torch.empty(dataset.width)
        mean_std = None if self._transform else self._mean_std(example, torch.float64, unscaled)
        return scale_rows(dataset, mean_std).inputs, self._transform is None, table.lines()

    def _filled(self, dataset: TableDataset) -> TableDataset:
        """Replace missing numbers as in training, or by the mean of the inputs in runs that do not say it."""
        normalize = self._description.normalize
        means = normalize.mean if isinstance(normalize, NormalizeConfig) else []
        values = self._description.fills or means[: dataset.inputs.shape[1]]
        if not values or not dataset.inputs.isnan().any():
            return dataset
        fills = torch.tensor(values, dtype=torch.float64)
        return replace(dataset, inputs=torch.where(dataset.inputs.isnan(), fills, dataset.inputs))

    def _mean_std(
        self, example: Tensor, dtype: torch.dtype, unscaled: Tensor | None = None
    ) -> MeanStd | None:
        """Return what inputs like `example` are normalized with; None if they are not."""
        normalize = self._description.normalize
        if not isinstance(normalize, NormalizeConfig):
            return None
        given = (torch.tensor(values, dtype=dtype) for values in (normalize.mean, normalize.std))
        try:
            return expand_channels(MeanStd(*given), unscaled, example)
        except DataError as error:  # it names a key of the preset, which is not to blame
            raise DataError(self.misfit(example.shape)) from error

    def _prepared(self, sample: Tensor) -> Tensor:
        """Return a sample transformed and normalized."""
        if self._transform is not None:
            try:
                sample = self._transform(sample)
            except DataError as error:
                if sample.ndim == len(self._description.input_shape):
                    raise
                raise DataError(self.misfit(sample.shape)) from error
        unscaled = None
        if features := self._description.features:
            categories = sum(len(each.categories) for each in features)
            unscaled = torch.arange(len(sample)) >= len(sample) - categories
        mean_std = None if sample.dtype == torch.int64 else self._mean_std(sample, torch.float32, unscaled)
        return Normalizer(tuple(sample.shape), mean_std, CPU)(sample)


def _read_pipe(path: Path) -> bytes:
    """Return what comes through a pipe. Raises DataError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise_system_failure(error)
        raise DataError(f"it cannot be read: {error_summary(error)}") from error
