"""The limits of the system that a process can run into: memory (ulimit -v, -d), open files, and threads."""

from __future__ import annotations

import errno
import resource

from torchconsole.engine.text import error_summary, mebibytes

MOST_FILES = 1 << 20
"""Open files that a process asks for at most: old programs close every number up to the limit."""

MEMORY_SIGNS = (
    "MemoryError",
    "Cannot allocate memory",
    "can't allocate memory",
    "std::bad_alloc",
    "failed to map segment from shared object",
    "unable to mmap",
    "cannot allocate memory",
    "out of memory",
)
"""What the errors of Python, torch, the C++ library and the dynamic loader say without memory."""

THREAD_SIGNS = ("can't start new thread", "Thread creation failed", "pthread_create")

FILE_SIGNS = ("Too many open files", "received 0 items of ancdata")
"""The latter is of multiprocessing, which receives file descriptors from data loader workers."""


def raise_file_limit() -> None:
    """Raise this process's limit of open files to the hard limit, which needs no rights.

    The default of 1024 is for programs that use select(). Connections, data loader workers and the batches
    that wait in shared memory all take files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # a sandbox forbids it
            return


def explain_limit(error: BaseException | str) -> str | None:
    """Return what limit an error, or the last line of a traceback, is about and what to change; else None."""
    text = error if isinstance(error, str) else error_summary(error)
    if is_memory_error(error):
        return f"out of memory: {text}{memory_limits()}"
    if any(sign in text for sign in THREAD_SIGNS):
        return f"{text}: raise the limit of processes and threads (ulimit -u) or of memory (ulimit -v)"
    if _is_of_files(error):
        return f"{text}: {file_advice()}"
    return None


def is_memory_error(error: BaseException | str) -> bool:
    """Whether an error, or the last line of a traceback, says that there is no more memory."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = error if isinstance(error, str) else str(error)
    return any(sign in text for sign in MEMORY_SIGNS)


def memory_limits() -> str:
    """Return this process's limits of memory as ` (ulimit -v is 300.0 MiB)`; empty if it has none."""
    limits = ((resource.RLIMIT_AS, "-v"), (resource.RLIMIT_DATA, "-d"))
    found = [(resource.getrlimit(number)[0], option) for number, option in limits]
    texts = [
        f"ulimit {option} is {mebibytes(size)}" for size, option in found if size != resource.RLIM_INFINITY
    ]
    return f" ({', '.join(texts)})" if texts else ""


def file_advice() -> str:
    """Return what to do about too many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard or hard == resource.RLIM_INFINITY:
        return f"the limit is {soft:,} files; raise it first, with `ulimit -n {soft * 16}` for example"
    return (
        f"the limit is {hard:,} files; raise the hard limit (ulimit -Hn) in the shell, container or batch "
        "system that started this, or in /etc/security/limits.conf"
    )


def _is_of_files(error: BaseException | str) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return True
    text = error if isinstance(error, str) else str(error)
    return any(sign in text for sign in FILE_SIGNS)
