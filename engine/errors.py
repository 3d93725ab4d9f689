"""Errors that users can cause. Each message says what is wrong, where, and what to do."""

from torchconsole.engine.text import printable


class TorchconsoleError(Exception):
    """Base of all errors that the user sees as a message instead of a traceback.

    Each of `lines` describes one mistake. Control characters are escaped, since a message may contain names
    of any origin.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(map(printable, lines)))


class PresetError(TorchconsoleError):
    """A preset that cannot be found, read or accepted."""


class UserConfigError(TorchconsoleError):
    """A config.toml of the user that cannot be read or accepted."""


class ComponentError(PresetError):
    """A component of a preset that does not exist or does not accept its arguments."""


class DataError(TorchconsoleError):
    """Data that is missing, empty or not suitable for training."""


class FindingsError(TorchconsoleError):
    """Findings of a dry run that refuse the start of a run, unless the user asks to start it anyway."""


class DeviceError(TorchconsoleError):
    """A requested device that cannot be used."""


class TrainingError(TorchconsoleError):
    """Training that cannot continue: it diverged, or the machine lacks memory or disk space."""


class DeviceLostError(TrainingError):
    """A device that failed and cannot be used again by this process."""


class JobError(TrainingError):
    """What ends all processes of a job; the message names the process that is to blame."""


class RunError(TorchconsoleError):
    """A run that cannot be found, started or reached."""


class UnreachableError(RunError):
    """A run on a disk or network mount that is away at present."""


class WrongRunError(RunError):
    """The socket in a run's record belongs to another run."""


class CheckpointError(TorchconsoleError):
    """A checkpoint that is missing, damaged or not suitable."""


class CommandRejectedError(TorchconsoleError):
    """A command that the engine rejected; the message is its reason."""


class TrustError(PresetError):
    """A preset that names user code which has not been trusted yet."""
