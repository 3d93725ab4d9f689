"""Decodes text files, and names the encoding of those that are in another one."""

from __future__ import annotations

import codecs

from torchconsole.engine.components.data.tables.text_file import (
    has_single_bytes,
    suggest_encoding,
    wide_encoding,
)
from torchconsole.engine.text import error_summary

SHOWN = 20
"""Bytes on each side of the one that cannot be decoded that are shown."""

SURE = 12
"""Bytes beyond ASCII in valid UTF-8 from which on it is no text in another encoding, such as GBK."""


class WrongEncodingError(ValueError):
    """The text is in another encoding; the message says what to do."""


def decode_text(content: bytes, encoding: str) -> tuple[str, str]:
    """Return the text, and the encoding it is in: `encoding`, or UTF-8 if the bytes are clearly that.

    Folders often mix them. Text in encodings with one or two bytes for each character is hardly ever valid
    UTF-8. Raises WrongEncodingError.
    """
    wide = wide_encoding(content)
    if wide and _family(encoding) != _family(wide):
        raise WrongEncodingError(f"it is not {encoding} but {wide.upper()} text: {_set_encoding(wide)}")
    if not wide and (text := _as_utf8(content)) is not None and _is_surely_utf8(content, encoding):
        return text, "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        raise WrongEncodingError(
            f"it is not {encoding} text ({error_summary(error)}); {_advice(content, encoding, error)}, or "
            "convert the file"
        ) from error
    if "\0" in text:
        likely = "utf-16-le" if content[1::2].count(0) >= content[0::2].count(0) else "utf-16-be"
        raise WrongEncodingError(
            f"it has NUL characters, so that it is not {encoding} text: {_set_encoding(likely)} if it is "
            "UTF-16, else remove the file"
        )
    return text.removeprefix("\ufeff"), encoding


def _as_utf8(content: bytes) -> str | None:
    """Return UTF-8 text; None for bytes that are not, or that have NULs as other encodings do."""
    try:
        return None if b"\0" in content else content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _is_surely_utf8(content: bytes, encoding: str) -> bool:
    """Whether valid UTF-8 is no text in `encoding`; short Chinese text in GBK may be both."""
    if _family(encoding) in ("utf-16", "utf-32") or has_single_bytes(encoding):
        return True
    return len(content) - len(content.decode("ascii", "ignore")) >= SURE


def _family(encoding: str) -> str:
    return codecs.lookup(encoding).name.removesuffix("-le").removesuffix("-be")


def _advice(content: bytes, encoding: str, error: UnicodeError) -> str:
    if _family(encoding) == "utf-8" and isinstance(error, UnicodeDecodeError):
        return suggest_encoding(content[max(0, error.start - SHOWN) : error.start + SHOWN])
    return "set data.encoding to the encoding of the files"


def _set_encoding(name: str) -> str:
    return f'set data.encoding = "{name}"'
