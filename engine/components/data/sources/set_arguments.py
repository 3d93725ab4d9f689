"""Finds the argument by which user code selects the training, validation or test set, and its values.

It is a truth value, such as `train` or `is_train`; or a word, such as `split`, `flag` or `mode`. The words
come from the default, the annotation and the text in the code, because each code has words of its own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter
from types import CodeType, FunctionType
from typing import Any, get_args

from torchconsole.engine.components.data.sources.folder_layout import SET_WORDS, SETS
from torchconsole.engine.components.instantiate import parameters_of

TRUTH_VALUES = {
    **dict.fromkeys(("train", "is_train", "is_training", "training"), "train"),
    **dict.fromkeys(("val", "is_val", "valid", "is_valid", "validation", "is_validation"), "val"),
    **dict.fromkeys(("test", "is_test", "testing", "test_mode"), "test"),
}
"""Arguments that are true for one set."""

WORDS = (
    *("split", "flag", "subset", "phase", "partition", "mode", "part", "stage", "set_name", "dataset_type"),
    *("set", "image_set", "data_split"),
)
"""Arguments that name a set."""

NO_SET = (None, "", "all", "both", "full", Parameter.empty)
"""Defaults of an argument in WORDS that select no set."""

GUESSES = {"val": ("val", "valid", "validation", "dev"), "test": ("test",)}
"""Words to try for the held-out sets if the code has none."""


@dataclass(frozen=True)
class SetArgument:
    """The argument or arguments that select a set."""

    name: str
    values: Mapping[str, list[dict[str, Any]]]
    """By set (train, val, test): the arguments to try in turn."""
    known: bool
    """Whether the values of the held-out sets are in the code; else they are guesses."""
    requires_word: bool = False
    """Whether even the value of the training set is a guess."""


def find_set_argument(factory: Any, given: Mapping[str, Any]) -> SetArgument | None:
    """Return how `factory`, a class or a function, selects a set; None if it does not, or `given` does."""
    parameters = parameters_of(factory)
    truths = [name for name in TRUTH_VALUES if name in parameters and _is_truth_value(parameters[name])]
    words = [name for name in WORDS if name in parameters and name not in given]
    if any(name in truths or str(value).lower() in SETS for name, value in given.items()):
        return None
    if truths:
        return _truth_argument(truths)
    texts = list(_texts(factory))
    candidates = [found for name in words if (found := _word_argument(parameters[name], texts))]
    # An argument whose default is a set is surer than one that only might be.
    candidates.sort(key=lambda found: parameters[found.name].default in NO_SET)
    return candidates[0] if candidates else None


def _is_truth_value(parameter: Parameter) -> bool:
    default, annotation = parameter.default, parameter.annotation
    if isinstance(default, bool):
        return True
    return default is Parameter.empty and (
        annotation in (bool, "bool")
        or (annotation is Parameter.empty and TRUTH_VALUES[parameter.name] == "train")
    )


def _truth_argument(names: list[str]) -> SetArgument:
    sets = [TRUTH_VALUES[name] for name in names]
    values: dict[str, list[dict[str, Any]]] = {
        wanted: [{name: TRUTH_VALUES[name] == wanted for name in names}]
        for wanted in ("train", "val", "test")
        if wanted in (*sets, "train")
    }
    if "val" not in sets and "test" not in sets:
        values["test"] = [dict.fromkeys(names, False)]
    return SetArgument(names[0], values, known=True)


def _word_argument(parameter: Parameter, texts: list[str]) -> SetArgument | None:
    name, default = parameter.name, parameter.default
    is_set = isinstance(default, str) and default.lower() in SETS
    no_set = isinstance(default, str | None | type(Parameter.empty)) and (
        default in NO_SET or str(default).lower() in NO_SET
    )
    found = [*([default] if is_set else []), *_annotated(parameter.annotation)]
    known = [word for word in dict.fromkeys((*found, *texts)) if word.lower() in SETS]
    sets = {wanted: [word for word in known if SETS[word.lower()] == wanted] for wanted in SET_WORDS}
    required = default is Parameter.empty and parameter.annotation in (Parameter.empty, str, "str")
    guessed = not sets["train"]
    if not is_set and not (no_set and not guessed) and (not required or name == "mode"):
        return None
    held_out = "test" if sets["val"] else "val"
    sets[held_out] = [*sets[held_out], *sets.pop("eval")]
    is_known = bool(sets["val"] or sets["test"])
    if not is_known:
        sets = {**sets, **{wanted: list(words) for wanted, words in GUESSES.items()}}
    sets["train"] = sets["train"] or ["train"]
    values: dict[str, list[dict[str, Any]]] = {
        wanted: [{name: word} for word in sets[wanted]] for wanted in ("train", "val", "test") if sets[wanted]
    }
    return SetArgument(name, values, is_known, requires_word=guessed)


def _annotated(annotation: Any) -> list[str]:
    """Return the words of a Literal."""
    if isinstance(annotation, str):
        return re.findall(r"[\"'](\w+)[\"']", annotation)
    return [word for word in get_args(annotation) if isinstance(word, str)]


def _texts(factory: Any) -> Iterator[str]:
    """Yield the text constants in the code of a function, or of the methods of a class, in their order."""
    if isinstance(factory, FunctionType):
        yield from _constants(factory.__code__)
        for name in factory.__code__.co_names:
            yield from _words_in(factory.__globals__.get(name))
    elif inspect.isclass(factory):
        own = [
            cls for cls in factory.__mro__ if not cls.__module__.startswith(("torch.", "typing", "builtins"))
        ]
        for member in (member for cls in own for member in vars(cls).values()):
            yield from _texts(member) if isinstance(member, FunctionType) else _words_in(member)


def _constants(constant: Any) -> Iterator[str]:
    if isinstance(constant, str):
        yield constant
    elif isinstance(constant, tuple | frozenset):
        for item in constant:
            yield from _constants(item)
    elif isinstance(constant, CodeType):
        yield from _constants(constant.co_consts)


def _words_in(value: Any) -> Iterator[str]:
    """Yield the words in a table of the module or the class, such as {"train": 0, "test": 1}."""
    if isinstance(value, dict | list | tuple | set | frozenset):
        yield from (item for item in value if isinstance(item, str))
