"""The names of all that torchconsole writes into a run's folder: `delete` removes these and no others."""

from __future__ import annotations

import re

PRESET_FILE = "preset.toml"
WANTED_PRESET_FILE = "preset.wanted.toml"
RUN_FILE = "run.json"
SPARE_FILE = ".run.json.spare"
METRICS_FILE = "metrics.jsonl"
CSV_FILE = "scalars.csv"
HISTORY_FILE = "history.json"
JOURNAL_FILE = "journal.jsonl"
CONFUSION_FILE = "confusion.json"
NOTES_FILE = "notes.json"
INPUT_FILE = "input.json"
PROFILE_FILE = "profile.json"
PROGRAM_FILE = "program.json"
LOG_FILE = "worker.log"
LOCK_FILE = "worker.lock"
TENSORBOARD = "tensorboard"
"""The folder of TensorBoard's event files."""

WANDB = "wandb"
MLFLOW = "mlflow"
"""The folders of Weights & Biases and MLflow. They hold TRACKED_FILE, and what these libraries write."""

TRACKED_FILE = "tracked.json"
"""Which run of the library it is, and how far it has got."""

RESULTS = "results"
"""The folder of pictures and texts that a program of the user's own has saved."""

CHECKPOINTS = "checkpoints"
"""The folder of checkpoints."""

RUN_FILES = (
    PRESET_FILE, WANTED_PRESET_FILE, RUN_FILE, SPARE_FILE,
    METRICS_FILE, CSV_FILE, HISTORY_FILE, JOURNAL_FILE, CONFUSION_FILE, NOTES_FILE, INPUT_FILE, PROGRAM_FILE,
    LOG_FILE, LOCK_FILE, PROFILE_FILE,
)  # fmt: skip

STATE_FILE = "state.pt"
MANIFEST_FILE = "manifest.json"
CHECKPOINT_FILES = (STATE_FILE, MANIFEST_FILE)
SHARDS_FILE = ".metadata"
"""The list of the tensors that several processes have saved together (`distributed.strategy = "fsdp"`)."""

LIGHTNING_FILE = "lightning.ckpt"
"""The state in Lightning's own format, in the place of STATE_FILE."""


BEST = "best"
LAST = "last"
LINKS = (BEST, LAST)
"""Links in the folder of checkpoints, each to one checkpoint."""

NEW_LINK = ".new"
"""Ends the name of a link that is about to replace another one."""

TEMPORARY = ".writing-"
REPLACED = ".replaced-"
REMOVED = ".removed-"
"""Begin the name of a checkpoint's folder before it is complete, and after it was replaced or removed."""

ABANDONED = "abandoned-"
"""Begins the name of a checkpoint's folder after the run was rolled back to an older one, if it is kept."""

SAVING = f"{TEMPORARY}lightning"
"""The folder that Lightning writes a checkpoint into."""

DELETING = ".deleting"
"""Ends the name of a run's folder while the run is being deleted."""

_STEP = re.compile(r"step-(\d{1,18})")
_ABANDONED = re.compile(rf"{ABANDONED}(?:\d{{1,4}}-)?{_STEP.pattern}")
_ASIDE = "|".join(map(re.escape, (TEMPORARY, REPLACED, REMOVED)))
_CHECKPOINT = re.compile(rf"(?:{_ASIDE})?(?:{_STEP.pattern}|{_ABANDONED.pattern})")
_SHARD = re.compile(r"__\d{1,9}_\d{1,9}\.distcp")
_RESULT = re.compile(r"[A-Za-z0-9._-]{1,60}-\d{8,18}\.(?:png|txt)")
_EVENT_FILE = re.compile(r"events\.out\.tfevents\..+")
_TEMPORARY_FILE = re.compile(r"\.(.+)\.\d+\.tmp")


def step_of_name(name: str) -> int:
    """Return the step in the name of a checkpoint's folder; -1 for any other name."""
    match = _STEP.fullmatch(name)
    return int(match[1]) if match else -1


def step_of_abandoned(name: str) -> int:
    """Return the step in the name of a checkpoint that was kept when the run was rolled back beyond it.

    -1 for any other name.
    """
    match = _ABANDONED.fullmatch(name)
    return int(match[1]) if match else -1


def is_run_file(name: str) -> bool:
    """Whether a run's folder may contain a file of ours with this name, a temporary one included."""
    return _final_name(name) in RUN_FILES


def is_checkpoint_folder(name: str) -> bool:
    """Whether the folder of checkpoints may contain a folder of ours with this name, complete or not."""
    return name == SAVING or _CHECKPOINT.fullmatch(name) is not None


def is_checkpoint_link(name: str) -> bool:
    """Whether the folder of checkpoints may contain a link of ours with this name, maybe temporary."""
    return name in LINKS or name in [f".{link}{NEW_LINK}" for link in LINKS]


def is_checkpoint_file(name: str) -> bool:
    """Whether a checkpoint's folder may contain a file of ours with this name, a temporary one included."""
    return _final_name(name) in (*CHECKPOINT_FILES, LIGHTNING_FILE) or is_shard_file(name)


def is_shard_file(name: str) -> bool:
    """Whether this is a file that torch saves sharded tensors into, or their list, maybe temporary."""
    return _SHARD.fullmatch(name) is not None or name in (SHARDS_FILE, f"{SHARDS_FILE}.tmp")


def is_result_file(name: str) -> bool:
    """Whether the folder of results may contain a file of ours with this name, a temporary one included."""
    return _RESULT.fullmatch(_final_name(name)) is not None


def is_event_file(name: str) -> bool:
    """Whether the folder for TensorBoard may contain a file of ours with this name."""
    return _EVENT_FILE.fullmatch(name) is not None


def _final_name(name: str) -> str:
    """Return the name that a temporary file of `files.replacing` gets at its end; other names as they are."""
    match = _TEMPORARY_FILE.fullmatch(name)
    return match[1] if match else name
