"""Tells errors of the system from damaged files: a sample that cannot be read now may be all right."""

from __future__ import annotations

import errno

from torchconsole.engine.errors import DataError
from torchconsole.engine.system_limits import file_advice
from torchconsole.engine.text import error_summary

FILES = "close the files that your dataset no longer needs, or lower data.num_workers"
MEMORY = (
    "memory is exhausted; lower data.num_workers or data.batch_size, set data.in_memory = false, or stop "
    "other programs"
)
DISK = "the disk or the network folder does not respond or is faulty; check it, then resume the run"

NO_DISK = (
    errno.EIO,
    errno.ESTALE,
    errno.EREMOTEIO,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.ENODEV,
    errno.ENXIO,
)
NO_NETWORK = (errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH)

REMEDIES = {
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), FILES),
    errno.ENOMEM: MEMORY,
    **dict.fromkeys((*NO_DISK, *NO_NETWORK), DISK),
}
"""What to do, by error number."""


def system_failure(error: BaseException | None) -> str | None:
    """Return what is wrong and what to do if an error, or the one that caused it, is of the system."""
    while error is not None:
        if isinstance(error, MemoryError):
            return f"{error_summary(error)}: {MEMORY}"
        if isinstance(error, OSError) and error.errno in REMEDIES:
            limit = f"; {file_advice()}" if REMEDIES[error.errno] == FILES else ""
            return f"{error_summary(error)}: {REMEDIES[error.errno]}{limit}"
        error = error.__cause__
    return None


def raise_system_failure(error: Exception, where: str = "") -> None:
    """Raise a DataError that names `where`, such as "cannot read a.png: ", if the system failed."""
    if reason := system_failure(error):
        raise DataError(f"data: {where}{reason}") from error
