"""Recognizes how folders of samples are laid out: which are the sets, and which are the classes.

A folder is a set by its name (train, Training, train_images, valid, Testing, ...) and because it holds class
folders: a class called "train" holds files. The layouts are

    CLASS/          not split                           cat/  dog/
    SET/CLASS/      torchvision's                       Training/cat/  Testing/cat/
    CLASS/SET/      the other way round                 cat/train/  cat/test/
    CLASS_SET/      the set as part of the name         cat_train/  cat_test/   trainA/ testA/

and folders around one of them, such as data/images/.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torchconsole.engine.components.data.sources.folder_tree import Folder
from torchconsole.engine.errors import DataError
from torchconsole.engine.text import did_you_mean

SET_WORDS = {
    "train": (
        *("train", "training", "trn", "entrainement", "entraînement", "apprentissage"),
        *("entrenamiento", "treino", "treinamento", "addestramento"),
    ),
    "val": (
        *("val", "valid", "validation", "validate", "vali", "dev", "validierung", "validación", "validacion"),
        *("validação", "validacao", "validazione"),
    ),
    "test": ("test", "testing", "tst", "prueba", "teste"),
    "eval": ("eval", "evaluation"),
}
"""Words that name a set, in lower case; `eval` is the validation set, or the test set beside one."""

SETS = {word: name for name, words in SET_WORDS.items() for word in words}
TITLES = {"train": "training", "val": "validation", "test": "test"}

FILLERS = (
    r"(?:set|sets|data|dataset|images?|imgs?|pics|photos|pictures|folder|dir|split|subset|samples|seg|\d+)"
)
_WORD = "|".join(sorted(SETS, key=len, reverse=True))
_GAP = r"[\s_.\-]*"
_SET_NAME = re.compile(f"(?:{FILLERS}{_GAP})*({_WORD})(?:{_GAP}{FILLERS})*", re.IGNORECASE)
_SET_FIRST = re.compile(rf"({_WORD})(?:[\s_.\-]+|(?-i:(?<=[a-z])(?=[A-Z])))(.+)", re.IGNORECASE)
_SET_LAST = re.compile(rf"(.+)(?:[\s_.\-]+|(?-i:(?<=[a-z])(?=[A-Z])))({_WORD})", re.IGNORECASE)
_NUMBERED_PART = re.compile(
    rf"(?:cv|fold|split|part|batch|chunk|shard|subset|run|session|day){_GAP}\d+", re.IGNORECASE
)
"""Folders such as fold_1, which are parts of a dataset rather than classes."""

MOST_SETS = 4
"""Up to this many folders with the same folders in them may be sets; more are classes."""

MAX_LISTED = 5
"""Number of folders or kinds of files that a message names."""


@dataclass(frozen=True)
class Layout:
    """The class folders of each set, `train`, `val` and `test`, by class name; and notes on the decisions."""

    sets: dict[str, dict[str, Folder]]
    notes: list[str] = field(default_factory=list)

    def note_other_files(self) -> list[str]:
        """Return a note if the class folders have files that are not read."""
        folders = (folder for classes in self.sets.values() for folder in classes.values())
        others = sum((folder.count_others() for folder in folders), Counter[str]())
        return [f"other files in the class folders are left out: {format_endings(others)}"] if others else []


def find_layout(root: Path, suffixes: tuple[str, ...], samples: str) -> Layout:
    """Find the layout of `root`. `samples` is what the files are called in messages, such as "images".

    Raises DataError for a folder without class folders, and if it is not clear what the sets are.
    """
    top = Folder(root, suffixes)
    folder = _unwrap(top)
    layout = (
        _sets_of_classes(folder, samples)
        or _classes_of_sets(folder)
        or _sets_in_names(folder)
        or _only_classes(folder, samples)
    )
    notes = [] if folder is top else [f"the folders of the classes or sets are in {folder.shown}"]
    if folder.samples:
        notes.append(f"{len(folder.samples):,} {samples} directly in {folder.shown} are in no class")
    sets = {name: layout.sets[name] for name in TITLES if layout.sets.get(name)}
    _check_classes_known(sets)
    return Layout(sets, [*notes, *layout.notes, *_note_inner_folders(sets)])


def set_named(name: str) -> str | None:
    """Return the set (train, val, test or eval) that a folder's name stands for; None for other names."""
    found = _SET_NAME.fullmatch(unicodedata.normalize("NFC", name))
    return SETS[found[1].lower()] if found else None


def format_endings(counts: Counter[str]) -> str:
    """Format numbers of files by the ends of their names: `.gif (10), .txt (2)`."""
    return ", ".join(f"{suffix} ({count:,})" for suffix, count in counts.most_common(MAX_LISTED))


def _unwrap(folder: Folder) -> Folder:
    """Return the folder that is the only one with samples, and holds more than one folder of them itself."""
    while True:
        used = folder.used_folders
        empty = any(inner.is_empty for inner in folder.folders)  # a class whose samples are missing
        if folder.samples or empty or len(used) != 1 or not used[0].holds_classes:
            return folder
        folder = used[0]


def _only_classes(folder: Folder, samples: str) -> Layout:
    """CLASS/. Raises DataError if a class has sets in it: it is a dataset, or the layout is incomplete."""
    for sub in folder.used_folders:
        inner = _unwrap(sub)
        sets = [part for part in inner.used_folders if set_named(part.name)]
        if len(sets) > 1 and any(set_named(part.name) == "train" for part in sets):
            raise DataError(
                f"data.root: {inner.shown} holds sets ({_list(sets)}), unlike the folders beside it: set "
                "data.root to it if it is the dataset, else rename these or remove the others"
            )
    _check_not_sets(folder)
    return Layout({"train": _classes(folder, samples)}, _note_classes_like_sets(folder))


def _check_not_sets(folder: Folder) -> None:
    """Raise DataError for folders that are sets rather than classes: they have the same folders in them.

    The views of an object, such as cat/front and dog/front, look the same, but can be kept in other ways.
    """
    used = folder.used_folders
    names = [{sub.name for sub in _unwrap(top).used_folders} for top in used if not top.samples]
    few = len(used) <= MOST_SETS or all(_NUMBERED_PART.fullmatch(top.name) for top in used)
    alike = 1 < len(used) == len(names) and few and len(set.intersection(*names)) > 1
    told = [top for top in used if set_named(top.name) and top.holds_classes]
    if not told and not (alike and not any(_is_filler(name) for each in names for name in each)):
        return
    inner = _unwrap((told or used)[0]).used_folders
    raise DataError(
        f"data.root: {_list(used)} in {folder.shown} may be sets or classes, because folders such as "
        f"{_list(inner)} are in them: rename them to train, val and test if they are sets; if they are "
        "classes, move the files out of these folders, or rename classes that are called like a set"
    )


def _is_filler(name: str) -> bool:
    """Whether a folder is called after what is in it, such as images."""
    return re.fullmatch(FILLERS, name, re.IGNORECASE) is not None


def _sets_of_classes(folder: Folder, samples: str) -> Layout | None:
    """SET/CLASS/."""
    used = folder.used_folders
    named = {sub.name: name for sub in used if (name := set_named(sub.name))} or _with_one_stem(used)
    found = [sub for sub in used if sub.name in named and sub.holds_classes]
    others = [sub for sub in used if sub not in found]
    if not found:
        if used and len(named) == len(used):
            raise DataError(
                f"data.root: there are {samples}, but no class folders, in {_list(used)} of {folder.shown}: "
                f"put the {samples} of each class into a folder of its own, such as {used[0].name}/cat"
            )
        return None
    sets = _by_set(found, named)
    flat = not any(sub.holds_classes for sub in others)
    if "train" not in sets:
        return _train_beside_sets(folder, sets, others) if flat else None
    if len(found) == 1 and not flat:
        raise DataError(
            f"data.root: {found[0].name} in {folder.shown} may be a class or the training set, because it "
            f"holds folders, as does {_list(others)}: set data.root to {found[0].shown} if it is the "
            "training set, else rename it"
        )
    train = _classes(_unwrap(sets["train"]), samples)
    layout = {name: train if name == "train" else _classes(_unwrap(sub)) for name, sub in sets.items()}
    labelled = {
        name: classes for name, classes in layout.items() if not _is_unlabelled(sets[name], classes, train)
    }
    unnamed = [sub for sub in others if sub.holds_classes]
    left_out = [*(sets[name] for name in layout if name not in labelled), *others]
    left_out = [sub for sub in left_out if sub not in unnamed]
    notes = [_note_sets({name: sets[name].name for name in labelled})]
    if left_out:
        notes.append(f"left out, because they are no sets with class folders: {_list(left_out)}")
    if unnamed:
        notes.append(
            f"left out, because they are not called like a set, such as train, val or test: {_list(unnamed)}"
        )
    return Layout(labelled, notes)


def _train_beside_sets(folder: Folder, sets: dict[str, Folder], others: list[Folder]) -> Layout:
    """CLASS/ for training, beside test/CLASS/. Raises DataError if there are no such classes."""
    held_out = {name: _classes(_unwrap(sub)) for name, sub in sets.items()}
    train = {sub.name: sub for sub in others}
    if not others or any(not classes.keys() <= train.keys() for classes in held_out.values()):
        raise DataError(
            f"data.root: {folder.shown} has {_list(list(sets.values()))}, but no training set: rename the "
            "folder to train on to train, or set data.root to it"
        )
    names = {"train": "all others", **{name: sub.name for name, sub in sets.items()}}
    return Layout({"train": train, **held_out}, [_note_sets(names)])


def _classes_of_sets(folder: Folder) -> Layout | None:
    """CLASS/SET/."""
    used = folder.used_folders
    if len(used) < 2 or any(sub.samples for sub in used):
        return None
    inner = [(sub.name, part, set_named(part.name)) for sub in used for part in sub.used_folders]
    kinds = {name for _, _, name in inner}
    if None in kinds or "train" not in kinds:
        return None
    return _grouped([(class_name, part, name) for class_name, part, name in inner if name])


def _sets_in_names(folder: Folder) -> Layout | None:
    """CLASS_SET/ or SET_CLASS/."""
    used = folder.used_folders
    for parsed in _parse_names(used):
        kinds = {name for _, name in parsed}
        train = {stem for stem, name in parsed if name == "train"}
        if len(kinds) > 1 and len(train) > 1 and {stem for stem, _ in parsed} <= train:
            return _grouped([(stem, sub, name) for sub, (stem, name) in zip(used, parsed, strict=True)])
    return None


def _with_one_stem(used: list[Folder]) -> dict[str, str]:
    """Return the sets by folder if all of the names are a set and one common text: pets_train, pets_test."""
    for parsed in _parse_names(used):
        if len({stem for stem, _ in parsed}) == 1 and len({name for _, name in parsed}) > 1:
            return {sub.name: name for sub, (_, name) in zip(used, parsed, strict=True)}
    return {}


def _parse_names(folders: list[Folder]) -> Iterator[list[tuple[str, str]]]:
    """Yield the text and the set that each name consists of, if all of them end (or begin) with a set."""
    for pattern, text, word in ((_SET_LAST, 1, 2), (_SET_FIRST, 2, 1)):
        found = [match for sub in folders if (match := pattern.fullmatch(sub.name))]
        if found and len(found) == len(folders):
            yield [(match[text], SETS[match[word].lower()]) for match in found]


def _grouped(found: list[tuple[str, Folder, str]]) -> Layout:
    """Return the layout of (class, folder, set). Raises DataError for two folders of one class and set."""
    held_out = _held_out_name(name for _, _, name in found)
    sets: dict[str, dict[str, Folder]] = {}
    for class_name, folder, name in found:
        classes = sets.setdefault(held_out if name == "eval" else name, {})
        if class_name in classes:
            raise _two_folders(classes[class_name], folder)
        classes[class_name] = folder
    names = {name: _list(list(classes.values())) for name, classes in sets.items()}
    return Layout(sets, [_note_sets(names)])


def _by_set(folders: list[Folder], named: dict[str, str]) -> dict[str, Folder]:
    """Return the folder of each set. Raises DataError for two folders of one set."""
    held_out = _held_out_name(named[folder.name] for folder in folders)
    found: dict[str, Folder] = {}
    for folder in folders:
        name = named[folder.name]
        name = held_out if name == "eval" else name
        if name in found:
            raise _two_folders(found[name], folder)
        found[name] = folder
    return found


def _held_out_name(names: Iterable[str]) -> str:
    """Return the set that `eval` stands for beside the other sets."""
    return "test" if "val" in names else "val"


def _two_folders(one: Folder, other: Folder) -> DataError:
    return DataError(
        f"data.root: {one.shown} and {other.shown} are named like the same set; rename or remove one of them"
    )


def _classes(folder: Folder, samples: str | None = None) -> dict[str, Folder]:
    """Return the class folders by name. With `samples`, raises DataError if there are none, or empty ones."""
    used = folder.used_folders
    empty = [sub for sub in folder.folders if not sub.has_samples]
    if samples and not used and not empty:
        where = f"holds {samples}, but no" if folder.samples else "has no"
        raise DataError(
            f"data.root: {folder.shown} {where} class folders: put the {samples} of each class into a folder "
            "of its own, such as cat"
        )
    if samples and empty:
        others = sum((sub.count_others() for sub in empty), Counter[str]())
        taken = f", but other files: {format_endings(others)}; {' and '.join(folder.suffixes)} are read"
        raise DataError(
            f"data.root: {folder.shown} has no {samples} in {_list(empty)}{taken * bool(others)}; add "
            "some, or remove these folders"
        )
    return {sub.name: sub for sub in used}


def _is_unlabelled(folder: Folder, classes: dict[str, Folder], train: dict[str, Folder]) -> bool:
    """Whether a set has no class folders, but files, or one folder such as images/ with all of them."""
    if len(classes) != 1 or classes.keys() <= train.keys():
        return not classes
    name = next(iter(classes))
    return name == folder.name or _is_filler(name) or set_named(name) is not None


def _check_classes_known(sets: dict[str, dict[str, Folder]]) -> None:
    train = sets["train"]
    for classes in sets.values():
        if unknown := sorted(classes.keys() - train.keys()):
            raise DataError(
                f"data.root: {classes[unknown[0]].shown} is the class {unknown[0]!r}, which the training set "
                f"does not have{did_you_mean(unknown[0], train)}; rename it, add it to the training set, or "
                "remove it"
            )


def _note_sets(names: dict[str, str]) -> str:
    listed = [f"{TITLES[name]} {names[name]}" for name in TITLES if name in names]
    return f"sets by folder: {', '.join(listed)}"


def _note_inner_folders(sets: dict[str, dict[str, Folder]]) -> list[str]:
    found = [inner for classes in sets.values() for sub in classes.values() for inner in sub.used_folders]
    return [f"folders inside of the classes are read too: {_list(found)}"] if found else []


def _note_classes_like_sets(folder: Folder) -> list[str]:
    found = [sub for sub in folder.used_folders if set_named(sub.name) and not sub.holds_classes]
    if not found:
        return []
    verb, pronoun = ("is a class", "it holds") if len(found) == 1 else ("are classes", "they hold")
    return [f"{_list(found)} {verb}, not a set, because {pronoun} no class folders"]


def _list(folders: list[Folder]) -> str:
    names = list(dict.fromkeys(folder.name for folder in folders))
    more = f" and {len(names) - MAX_LISTED:,} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
