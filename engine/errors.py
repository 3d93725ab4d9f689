"""Errors that users can cause. Each message states what is wrong, where, and what to do about it."""

from torchconsole.engine.text import printable


class TorchconsoleError(Exception):
    """Base class of all errors that are shown to the user as a message instead of a traceback.

    Each of `lines` describes one error. Control characters are escaped, because messages contain names from
    other people's files.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(map(printable, lines)))


class PresetError(TorchconsoleError):
    """A preset does not exist, cannot be read, or is invalid."""


class ComponentError(PresetError):
    """A component of a preset does not exist or rejects its arguments."""


class DataError(TorchconsoleError):
    """Data is missing, empty, or not suitable for training."""


class DeviceError(TorchconsoleError):
    """The requested device cannot be used."""


class TrainingError(TorchconsoleError):
    """The training cannot continue: it diverged, or the machine lacks a resource such as memory."""


class DeviceLostError(TrainingError):
    """The device failed, and this process cannot use it any more."""


class RunError(TorchconsoleError):
    """A run cannot be found, started or reached."""


class CheckpointError(TorchconsoleError):
    """A checkpoint is missing, is damaged, or belongs to another model or run."""


class CommandRejectedError(TorchconsoleError):
    """The engine rejected a command; the message is the reason."""


class TrustError(PresetError):
    """A preset uses user code that the user has not trusted yet."""
