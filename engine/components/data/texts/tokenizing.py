"""Tokenizers: characters or words with a vocabulary of the training texts, or a file of `tokenizers`."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.text import error_summary
from torchconsole.engine.user_folders import expand_user

PADDING, UNKNOWN = 0, 1
"""The token after the end of a text, and the one for all that the vocabulary does not have."""

VOCAB_SIZE = 20_000
"""Maximum size of a vocabulary, with the two tokens above, unless the preset sets it."""

KINDS = ("words", "characters")

_WORDS = re.compile(r"\w+|[^\w\s]")
"""A word is a run of letters, digits and underscores; each other visible character is one too."""

PADDING_NAMES = frozenset({"[PAD]", "<pad>", "<|pad|>"})
"""The usual names of the padding token in a file of `tokenizers`."""

_FILE_RECORD = "sha256:"


@dataclass(frozen=True)
class TextOptions:
    """How texts become tokens."""

    tokenizer: str = "words"
    """words, characters, or a file of the package `tokenizers` such as "tokenizer.json"."""
    max_length: int = 256
    """Tokens of a text that are used; the rest is cut off."""
    vocab_size: int | None = None
    """Maximum number of different tokens, the most frequent ones; 20,000 by default."""
    min_frequency: int | None = None
    """How often a token must occur in the training texts to be in the vocabulary; 1 by default."""
    lowercase: bool | None = None
    """Whether upper and lower case are the same; by default they are for words, not for characters."""
    vocabulary: str | None = None
    """Recorded by a run: its words, characters, or the hash of its file. It is not built again."""

    def __post_init__(self) -> None:
        """Raises ValueError for values of the wrong type, and for keys that a file decides."""
        if not isinstance(self.tokenizer, str) or (self.tokenizer not in KINDS and not self.file):
            raise ValueError(
                f'tokenizer must be "words", "characters" or a file such as "tokenizer.json", '
                f"not {self.tokenizer!r}"
            )
        for key, least in (("max_length", 1), ("vocab_size", 3), ("min_frequency", 1)):
            given: Any = getattr(self, key)
            if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < least):
                raise ValueError(f"{key} must be a whole number of at least {least}, not {given!r}")
        if not isinstance(self.lowercase, bool | None):
            raise ValueError(f"lowercase must be true or false, not {self.lowercase!r}")
        if not isinstance(self.vocabulary, str | None):
            raise ValueError("vocabulary must be a text; leave it out, a run records it")
        decided = [
            key for key in ("vocab_size", "min_frequency", "lowercase") if getattr(self, key) is not None
        ]
        if self.file and decided:
            raise ValueError(f"{decided[0]} is decided by the tokenizer's file; remove it")

    @property
    def file(self) -> Path | None:
        """The file of the tokenizer; None for words and characters."""
        return expand_user(self.tokenizer) if self.tokenizer.endswith(".json") else None


class Tokenizer(ABC):
    """Turns texts into tokens: integers from 0, which is the padding, to `size` - 1."""

    size: int
    """Number of different tokens."""
    unknown: int | None
    """The token for what the vocabulary does not have, if it has one for that."""
    record: str
    """What `TextOptions.vocabulary` must be to get the same tokenizer again."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text."""

    @abstractmethod
    def describe(self) -> str:
        """Return what the vocabulary is, for a note."""


def make_tokenizer(options: TextOptions, training_texts: Sequence[str]) -> Tokenizer:
    """Return the tokenizer with the recorded vocabulary, or else with that of the training texts.

    Raises ComponentError for a file that cannot be used, and DataError for texts without tokens.
    """
    if options.file is not None:
        return _FileTokenizer(options.file, options.vocabulary)
    if options.vocabulary is not None:
        split = options.vocabulary.split(" ") if options.tokenizer == "words" else options.vocabulary
        return _VocabularyTokenizer(options, list(split))
    return _VocabularyTokenizer(options, _build_vocabulary(options, training_texts))


def _split(options: TextOptions, text: str) -> Sequence[str]:
    text = unicodedata.normalize("NFC", text)  # an accent of its own would end a word
    lowercase = options.tokenizer == "words" if options.lowercase is None else options.lowercase
    text = text.lower() if lowercase else text
    return _WORDS.findall(text) if options.tokenizer == "words" else text


def _build_vocabulary(options: TextOptions, texts: Iterable[str]) -> list[str]:
    """Return the most frequent tokens; of equally frequent ones, the first in the alphabet."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_split(options, text))
    least = options.min_frequency or 1
    frequent = [token for token, count in counts.items() if count >= least]
    if not frequent:
        reason = f" at least {least} times; lower data.min_frequency" if counts else "; check the texts"
        raise DataError(f"data.tokenizer: the training texts have no {options.tokenizer}{reason}")
    frequent.sort(key=lambda token: (-counts[token], token))
    return frequent[: (options.vocab_size or VOCAB_SIZE) - 2]


class _VocabularyTokenizer(Tokenizer):
    """Words or characters: 2, 3, ... in the order of the vocabulary, 1 for those that it does not have."""

    def __init__(self, options: TextOptions, vocabulary: Sequence[str]) -> None:
        self._options = options
        self.unknown = UNKNOWN
        self._numbers = {token: number for number, token in enumerate(vocabulary, UNKNOWN + 1)}
        self.size = len(vocabulary) + UNKNOWN + 1
        self.record = (" " if options.tokenizer == "words" else "").join(vocabulary)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        numbers = self._numbers
        return [[numbers.get(token, UNKNOWN) for token in _split(self._options, text)] for text in texts]

    def describe(self) -> str:
        return f"{len(self._numbers):,} different {self._options.tokenizer}"


class _FileTokenizer(Tokenizer):
    """A tokenizer of the package `tokenizers`, read from its file.

    Its tokens keep their numbers if 0 is its padding, and move up by one if not.
    """

    def __init__(self, file: Path, record: str | None) -> None:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ComponentError(f"data.tokenizer: cannot read {file}: {error.strerror}") from error
        self.record = _FILE_RECORD + hashlib.sha256(content).hexdigest()
        if record is not None and record != self.record:
            raise ComponentError(
                f"data.tokenizer: {file} has changed since the run started; restore the file of that time"
            )
        self._name = file.name
        self.unknown = None
        self._tokenizer = _parse_tokenizer(file, content)
        # enable_padding() says that 0 is the padding even if it is a token of the texts.
        padding = self._tokenizer.padding
        names = PADDING_NAMES | ({padding["pad_token"]} if padding else set())
        self._offset = 0 if self._tokenizer.id_to_token(PADDING) in names else 1
        # The numbers may have gaps, so the vocabulary can have fewer tokens than that.
        highest = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=PADDING)
        self.size = highest + 1 + self._offset
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch(list(texts))
        return [[number + self._offset for number in encoding.ids] for encoding in encodings]

    def describe(self) -> str:
        return f"{self.size:,} tokens of {self._name}"


def _parse_tokenizer(file: Path, content: bytes) -> Any:
    try:
        from tokenizers import Tokenizer as Parsed  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise ComponentError(
            f"data.tokenizer: reading {file.name} requires tokenizers: pip install 'torchconsole[text]'"
        ) from error
    try:
        return Parsed.from_str(content.decode())
    except Exception as error:  # it raises plain Exceptions
        raise ComponentError(
            f"data.tokenizer: {file} is not a file of the package tokenizers: {error_summary(error)}"
        ) from error
