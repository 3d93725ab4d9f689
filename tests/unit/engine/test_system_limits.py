"""Errors at the limits of the system say which limit it is, and what to change."""

from __future__ import annotations

import errno
import resource

import pytest

from torchconsole.engine.system_limits import MOST_FILES, explain_limit, raise_file_limit

Limits = dict[int, tuple[int, int]]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    """The limits of this process, as soft and hard ones."""
    infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    found: Limits = {
        resource.RLIMIT_NOFILE: (1024, 4096),
        resource.RLIMIT_AS: infinite,
        resource.RLIMIT_DATA: infinite,
    }
    monkeypatch.setattr(resource, "getrlimit", found.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", found.__setitem__)
    return found


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
        RuntimeError("std::bad_alloc"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        "MemoryError",
    ],
    ids=str,
)
def test_memory_is_named_with_its_limit(error: BaseException | str, limits: Limits) -> None:
    limits[resource.RLIMIT_AS] = (300 << 20, resource.RLIM_INFINITY)
    found = explain_limit(error)
    assert found is not None
    assert found.startswith("out of memory: ")
    assert found.endswith(" (ulimit -v is 300.0 MiB)")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("unable to open shared memory object </x> in read-write mode: Too many open files (24)"),
        RuntimeError("received 0 items of ancdata"),
    ],
    ids=str,
)
def test_open_files_are_named_with_the_command_that_raises_their_limit(
    error: BaseException, limits: Limits
) -> None:
    assert "the limit is 1,024 files; raise it first, with `ulimit -n" in (explain_limit(error) or "")
    limits[resource.RLIMIT_NOFILE] = (64, 64)
    assert "raise the hard limit (ulimit -Hn)" in (explain_limit(error) or "")


def test_threads_are_named() -> None:
    assert "ulimit -u" in (explain_limit(RuntimeError("can't start new thread")) or "")


def test_other_errors_are_not_of_limits() -> None:
    assert explain_limit(RuntimeError("shapes do not match")) is None
    assert explain_limit(OSError(errno.ENOENT, "No such file")) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1024, 4096), (4096, 4096)),
        ((4096, 4096), (4096, 4096)),
        ((1024, 1 << 30), (MOST_FILES, 1 << 30)),
        ((1024, resource.RLIM_INFINITY), (MOST_FILES, resource.RLIM_INFINITY)),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)),
    ],
)
def test_the_limit_of_open_files_is_raised(
    before: tuple[int, int], after: tuple[int, int], limits: Limits
) -> None:
    limits[resource.RLIMIT_NOFILE] = before
    raise_file_limit()
    assert limits[resource.RLIMIT_NOFILE] == after


def test_a_limit_that_may_not_be_raised_stays(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", forbid)
    raise_file_limit()
    assert limits[resource.RLIMIT_NOFILE] == (1024, 4096)
