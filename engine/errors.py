"""Errors that a user can cause. Each message says what is wrong, where, and what to do about it."""

from torchconsole.engine.text import printable


class TorchconsoleError(Exception):
    """Base of every error shown to the user as a message instead of a traceback.

    Each of `lines` tells of one mistake; what no terminal should get (names are anybody's) is escaped.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(map(printable, lines)))


class PresetError(TorchconsoleError):
    """A preset that cannot be found, read or accepted."""


class ComponentError(PresetError):
    """A preset's component that does not exist, or does not take the arguments it is given."""


class DataError(TorchconsoleError):
    """Data that is missing, empty, or not fit for training."""


class DeviceError(TorchconsoleError):
    """A device that was asked for and cannot be used."""


class TrainingError(TorchconsoleError):
    """The training cannot go on: it diverged, or the machine does not suffice."""


class DeviceLostError(TrainingError):
    """The device failed, and this process cannot use it again."""


class RunError(TorchconsoleError):
    """A run that cannot be found, started or reached."""


class CheckpointError(TorchconsoleError):
    """A checkpoint that is missing, damaged, or belongs to something else."""


class CommandRejectedError(TorchconsoleError):
    """A command that the engine refused; the message is the engine's reason."""


class TrustError(PresetError):
    """A preset names code of the user's that has not been trusted yet."""
