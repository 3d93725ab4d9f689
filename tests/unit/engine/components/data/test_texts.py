"""Texts in folders and in tables become padded tokens with the vocabulary of the training texts."""

from __future__ import annotations

import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.data_files import all_of, load, write_texts
from torchconsole.engine.components.data import DataModule
from torchconsole.engine.components.data.texts.tokenizing import TextOptions, make_tokenizer
from torchconsole.engine.errors import ComponentError, DataError

GOOD, BAD = "a fine, fine film", "A dull film!"


@pytest.fixture
def films(tmp_path: Path) -> Path:
    write_texts(tmp_path / "train", {"good": [GOOD] * 3, "bad": [BAD] * 3})
    write_texts(tmp_path / "val", {"good": ["a fine new one"], "bad": ["dull"]})
    return tmp_path


def words(data: DataModule) -> list[str]:
    assert data.texts is not None
    return data.texts.vocabulary.split(" ")


def test_words_are_numbered_by_their_frequency_in_the_training_texts(films: Path) -> None:
    data = load("TextFiles", root=str(films))
    # 0 is the padding, 1 a word that the training texts do not have; ties are in the order of the alphabet.
    assert words(data) == ["a", "film", "fine", "!", ",", "dull"]
    assert data.texts is not None
    assert (data.texts.vocab_size, data.texts.max_length) == (8, 5)
    assert (data.spec.vocab_size, data.spec.input_dtype, data.spec.input_shape) == (8, torch.int64, (5,))
    assert data.spec.class_names == ["bad", "good"]
    inputs, targets = all_of(data.val)
    assert inputs.tolist() == [[7, 0, 0, 0, 0], [2, 4, 1, 1, 0]]
    assert targets.tolist() == [0, 1]
    inputs, _ = all_of(data.train)
    assert sorted(set(map(tuple, inputs.tolist()))) == [(2, 4, 6, 4, 3), (2, 7, 3, 5, 0)]
    assert "40.0% of the tokens of the validation texts are not in the vocabulary" in data.notes
    assert data.measured is None


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"tokenizer": "characters"}, "".join(sorted(set(GOOD + BAD)))),
        ({"tokenizer": "characters", "lowercase": True}, "".join(sorted(set((GOOD + BAD).lower())))),
        ({"lowercase": False}, "film fine ! , A a dull"),
        ({"vocab_size": 4}, "a film"),
        ({"min_frequency": 4}, "a film fine"),
    ],
)
def test_keys_choose_what_is_in_the_vocabulary(films: Path, keys: dict[str, Any], expected: str) -> None:
    data = load("TextFiles", root=str(films), **keys)
    assert data.texts is not None
    if "tokenizer" in keys:
        assert sorted(data.texts.vocabulary) == sorted(expected)
    else:
        assert data.texts.vocabulary == expected


def test_long_texts_are_cut_and_a_text_without_tokens_is_padding(tmp_path: Path) -> None:
    write_texts(tmp_path, {"a": ["one two three four"] * 4, "b": ["", "\n ", "one"]})
    data = load("TextFiles", root=str(tmp_path), max_length=3, val_split=1)
    inputs = torch.cat([all_of(data.train)[0], all_of(data.val)[0]])
    assert inputs.shape == (7, 3)
    assert (inputs == 0).all(dim=1).sum() == 2
    assert "4 of 7 texts are cut off at 3 tokens (data.max_length)" in data.notes
    assert "2 of 7 texts have no tokens" in data.notes


def test_a_recorded_vocabulary_is_used_as_it_is_although_the_texts_have_changed(films: Path) -> None:
    before = load("TextFiles", root=str(films))
    assert before.texts is not None
    write_texts(films / "train", {"good": ["nobody " * 8]})
    record = {"vocabulary": before.texts.vocabulary, "max_length": before.texts.max_length}
    after = load("TextFiles", root=str(films), **record)
    assert after.texts == before.texts
    assert torch.equal(all_of(after.val)[0], all_of(before.val)[0])
    rebuilt = load("TextFiles", root=str(films))
    assert rebuilt.texts != before.texts


@pytest.mark.parametrize("text", ["tab\tline\nnul\0 é 😀 \x7f \u2028", "Ärger über 123 don't_do"])
@pytest.mark.parametrize("kind", ["words", "characters"])
def test_a_vocabulary_of_any_characters_can_be_recorded(text: str, kind: str) -> None:
    tokenizer = make_tokenizer(TextOptions(kind), [text])
    again = make_tokenizer(TextOptions(kind, vocabulary=tokenizer.record), [])
    [tokens] = tokenizer.encode([text])
    assert again.encode([text]) == [tokens]
    assert (again.size, min(tokens)) == (tokenizer.size, 2)


def test_a_column_of_a_table_is_the_text(tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    rows = [
        "id,review,stars,verdict",
        '1,"fine, really",5,good',
        "2,dull,1,bad",
        "3,007,2,bad",
        "4,None,4,good",
    ]
    file.write_text("\n".join(rows))
    keys = {"root": str(file), "target": "verdict", "text": "review", "val_split": 1}
    data = load("CSV", **keys)
    assert sum(len(all_of(part)[1]) for part in (data.train, data.val)) == 4
    assert data.spec.class_names == ["bad", "good"]
    roles = {column.name: column.role for column in data.columns}
    assert roles == {"review": "text", "verdict": "target", "id": "dropped", "stars": "dropped"}
    with pytest.raises(
        DataError, match=r"data.text: reviews.csv has no column 'revew', did you mean 'review'"
    ):
        load("CSV", **keys | {"text": "revew"})
    with pytest.raises(ComponentError, match=r"data.features: the only input is the column data.text"):
        load("CSV", **keys, features=["stars"])
    with pytest.raises(ComponentError, match=r"data.text: 'verdict' is also the target"):
        load("CSV", **keys | {"text": "verdict"})
    with pytest.raises(ComponentError, match=r"data.tokenizer: is for texts; set data.text to the column"):
        load("CSV", root=str(file), target="verdict", tokenizer="words")


def test_an_unknown_column_to_drop_is_reported(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("review,note,y\n" + "fine,x,1\ndull,x,0\n" * 5)
    keys: dict[str, Any] = {"root": str(tmp_path / "t.csv"), "target": "y", "text": "review"}
    with pytest.raises(DataError, match=r"data\.drop: t\.csv has no column 'note1', did you mean 'note'"):
        load("CSV", drop=["note1"], **keys)
    load("CSV", drop=["note"], **keys)


def test_rows_without_a_text_need_a_decision(tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text("review,verdict\nfine,good\n,bad\ndull,bad\nnice,good\n")
    keys = {"root": str(file), "target": "verdict", "text": "review", "val_split": 1}
    with pytest.raises(DataError, match="1 missing value in column 'review', the first in line 3"):
        load("CSV", **keys)
    assert "1 of 4 rows have missing values and are left out" in load("CSV", **keys, missing="drop").notes
    with pytest.raises(ComponentError, match=r"data.missing: texts have no mean"):
        load("CSV", **keys, missing="mean")


def test_a_file_that_is_not_utf_8_is_named_or_left_out(films: Path) -> None:
    (films / "train" / "bad" / "cafe.txt").write_bytes("caf\xe9 fine".encode("cp1252"))
    with pytest.raises(DataError, match=r'cafe.txt: it is not utf-8 text .*; set data.encoding.*"cp1252"'):
        load("TextFiles", root=str(films))
    assert "café" in words(load("TextFiles", root=str(films), encoding="cp1252"))
    skipping = load("TextFiles", root=str(films), on_corrupt="skip")
    assert skipping.train.samples_per_epoch == 6
    assert any("1 text cannot be read; left out: " in note for note in skipping.notes)


@pytest.mark.parametrize(
    ("content", "given", "named"),
    [
        ("cafés sind fein".encode("utf-16"), "utf-8", "utf-16"),
        ("cafés sind fein".encode("utf-16-le"), "utf-8", "utf-16-le"),
        ("ab".encode("utf-16-be"), "utf-8", "utf-16-be"),
        ("cafés sind fein".encode("utf-16"), "cp1252", "utf-16"),
        ("cafés sind fein".encode("utf-16-be"), "latin-1", "utf-16-be"),
        ("fein".encode("utf-32"), "utf-8", "utf-32"),
    ],
)
def test_text_of_several_bytes_per_character_is_recognized(
    films: Path, content: bytes, given: str, named: str
) -> None:
    for file in films.rglob("*.txt"):
        file.write_bytes(content)
    with pytest.raises(DataError, match=f'set data.encoding = "{named}"'):
        load("TextFiles", root=str(films), encoding=given)
    expected = content.decode(named).split()
    assert set(words(load("TextFiles", root=str(films), encoding=named))) == set(expected)


@pytest.mark.parametrize("given", ["cp1252", "utf-16"])
def test_utf_8_among_other_texts_is_read_as_such(films: Path, given: str) -> None:
    folder = films / "train" / "bad"
    (folder / "a.txt").write_bytes("naïve".encode(given))
    (folder / "b.txt").write_bytes("café".encode())
    (folder / "c.txt").write_bytes("über".encode("utf-8-sig"))
    data = load("TextFiles", root=str(films), encoding=given)
    assert {"naïve", "café", "über"} <= set(words(data))
    assert f"2 texts read as UTF-8 instead of {given}" in data.notes


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tokenizer": "word"}, 'tokenizer must be "words", "characters" or a file'),
        ({"max_length": 0}, "max_length must be a whole number of at least 1"),
        ({"encoding": "utf-9"}, 'encoding must be a name such as "cp1252"'),
        (
            {"min_frequency": 50},
            "the training texts have no words at least 50 times; lower data.min_frequency",
        ),
        ({"tokenizer": "gone.json"}, "data.tokenizer: cannot read gone.json"),
        ({"tokenizer": "gone.json", "lowercase": True}, "lowercase is decided by the tokenizer's file"),
    ],
)
def test_keys_that_cannot_be_used_are_refused(films: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises((ComponentError, DataError), match=message):
        load("TextFiles", root=str(films), **keys)


def write_tokenizer(file: Path, padding: str = "[PAD]") -> None:
    """Write a file of the package tokenizers with a model of whole words."""
    vocabulary = {padding: 0, "[UNK]": 1, "fine": 2, "film": 3, "dull": 4, "a": 5}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(("padding", "expected"), [("[PAD]", [4, 0]), ("first", [5, 0])])
def test_a_file_of_tokenizers_keeps_0_for_the_padding(films: Path, padding: str, expected: list[int]) -> None:
    pytest.importorskip("tokenizers")
    file = films / "tokenizer.json"
    write_tokenizer(file, padding)
    data = load("TextFiles", root=str(films), tokenizer=str(file))
    assert data.spec.vocab_size == (6 if padding == "[PAD]" else 7)
    assert all_of(data.val)[0][0, :2].tolist() == expected
    assert data.texts is not None
    record = {"vocabulary": data.texts.vocabulary, "max_length": data.texts.max_length}
    load("TextFiles", root=str(films), tokenizer=str(file), **record)
    write_tokenizer(file, "another")
    with pytest.raises(ComponentError, match=r"tokenizer.json has changed since the run started"):
        load("TextFiles", root=str(films), tokenizer=str(file), **record)
    file.write_text("{}")
    with pytest.raises(ComponentError, match="is not a file of the package tokenizers"):
        load("TextFiles", root=str(films), tokenizer=str(file))


@pytest.mark.parametrize("padding", [None, "[PAD]", "fine"])
def test_a_real_token_0_is_not_taken_for_the_padding_and_gaps_are_counted(
    tmp_path: Path, padding: str | None
) -> None:
    """The file says that 0 is the padding, as `enable_padding()` does, but may have a word there."""
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"fine": 0, "film": 1, "[UNK]": 9}, unk_token="[UNK]")
    parsed = tokenizers.Tokenizer(model)
    parsed.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if padding is not None:
        parsed.enable_padding(pad_id=0, pad_token=padding)
    file = tmp_path / "tokenizer.json"
    parsed.save(str(file))
    tokenizer = make_tokenizer(TextOptions(tokenizer=str(file)), [])
    offset = 0 if padding == "fine" else 1
    assert tokenizer.encode(["fine film", "new"]) == [[offset, 1 + offset], [9 + offset]]
    assert tokenizer.size == 10 + offset


def test_the_package_tokenizers_is_an_extra(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tokenizer(films / "tokenizer.json")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ComponentError, match=r"pip install 'torchconsole\[text\]'"):
        load("TextFiles", root=str(films), tokenizer=str(films / "tokenizer.json"))


def test_letters_are_the_same_however_their_accents_are_coded(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        write_texts(tmp_path / form, {"a": [unicodedata.normalize(form, "schöner Käse")] * 4, "b": ["x"] * 4})
    composed, decomposed = (load("TextFiles", root=str(tmp_path / form)).texts for form in ("NFC", "NFD"))
    assert composed == decomposed


def test_utf8_among_texts_in_an_encoding_of_two_bytes(tmp_path: Path) -> None:
    write_texts(tmp_path, {"a": ["x"] * 4, "b": ["x"] * 4})
    for number, path in enumerate(sorted(tmp_path.rglob("*.txt"))):
        path.write_bytes("一部很好看的电影".encode("utf-8" if number % 2 else "gbk"))
    data = load("TextFiles", root=str(tmp_path), encoding="gbk")
    assert data.texts is not None
    assert data.texts.vocabulary == "一部很好看的电影"
    assert "4 texts read as UTF-8 instead of gbk" in data.notes
