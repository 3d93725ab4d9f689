"""The shared text helpers."""

from __future__ import annotations

import pytest

from torchconsole.engine.text import counted, did_you_mean, error_summary, first_line, mebibytes


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "line", "summary"),
    [
        (ValueError("\nfirst\nsecond"), "first", "ValueError: first"),
        (KeyError(), "KeyError", "KeyError"),
        (
            ValueError(
                "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent "
                'call last):\n  File "x.py", line 3, in read\n    raise error\nValueError: first\nsecond\n'
            ),
            "in a data loader worker: ValueError: first",
            "in a data loader worker: ValueError: first",
        ),
        (UnprintableError(), "<exception str() failed>", "UnprintableError: <exception str() failed>"),
    ],
)
def test_an_error_is_summarized_in_one_line(error: Exception, line: str, summary: str) -> None:
    assert first_line(error) == line
    assert error_summary(error) == summary


def test_the_nearest_name_is_suggested_whatever_its_case() -> None:
    assert did_you_mean("adamw", ["SGD", "AdamW"]) == ", did you mean 'AdamW'?"


def test_known_names_are_listed_if_none_is_similar() -> None:
    assert did_you_mean("xyz", ["SGD", "AdamW"]) == "; available: SGD, AdamW"
    assert did_you_mean("xyz", []) == ""
    assert did_you_mean("xyz", map(str, range(100))).endswith(", 11 and 88 more")


def test_bytes_are_formatted_in_mebibytes() -> None:
    assert mebibytes(0) == "0.0 MiB"
    assert mebibytes(1_500 * 2**20 + 2**19) == "1,500.5 MiB"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps"), (1234, "1,234 steps")]
)
def test_nouns_are_counted(count: int, text: str) -> None:
    assert counted(count, "step") == text
