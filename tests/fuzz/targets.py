"""What is fuzzed: the readers of files and messages that others may have written."""

from __future__ import annotations

from tests.fuzz.data import Images, Presets, Tables
from tests.fuzz.messages import ClientMessages, WorkerMessages
from tests.fuzz.runs import Commands, Menu, RegistryEntries, RunFiles
from tests.fuzz.target import Target

TARGETS: tuple[type[Target], ...] = (
    RunFiles, Commands, Menu, RegistryEntries, Presets, WorkerMessages, ClientMessages, Images, Tables,
)  # fmt: skip
