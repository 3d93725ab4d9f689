"""Run the default test suite under conditions that no test may depend on, and print one line for each.

    python -m tests.support.matrix [CONDITION ...] [-- PYTEST_ARGUMENT ...]

Without names all conditions run, one after the other; each takes as long as `make test`. Arguments after
`--` replace the default suite: `-- tests/tui -x`. The output of a run goes to a log file whose path is in
its line. Exits with 1 if a run failed, with 2 for an unknown condition.
"""

from __future__ import annotations

import os
import random
import shlex
import string
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITE = [f"--ignore=tests/{name}" for name in ("e2e", "gpu", "ssh", "faults")]
"""What `make test` leaves out."""

NOBODY = 65534


@dataclass(frozen=True)
class Condition:
    """One way to run the suite. `env` sets variables, None removes one."""

    base_length: int = 12
    env: tuple[tuple[str, str | None], ...] = ()
    options: tuple[str, ...] = ()
    other_user: bool = False


CONDITIONS = {
    "base-5": Condition(base_length=5),
    "base-40": Condition(base_length=40),
    "base-90": Condition(base_length=90),
    "other-user": Condition(other_user=True),
    "kiritimati": Condition(env=(("TZ", "Pacific/Kiritimati"),)),
    "locale-c": Condition(env=(("LC_ALL", "C"),)),
    "no-locale": Condition(env=(("LC_ALL", None), ("LANG", None))),
    "shuffle-1": Condition(options=("--shuffle", "1")),
    "shuffle-2": Condition(options=("--shuffle", "2")),
    "shuffle-3": Condition(options=("--shuffle", "3")),
}


def base_folder(length: int) -> Path:
    """Choose a new folder in /tmp whose name has `length` characters. pytest makes it."""
    while True:
        name = "".join(random.choices(string.ascii_lowercase, k=length))
        if not (path := Path("/tmp", name)).exists():
            return path


def run(condition: Condition, log: Path, arguments: list[str]) -> tuple[int, str]:
    """Run pytest with these arguments; returns its exit status and its last line."""
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    for name, value in condition.env:
        env.pop(name, None)
        if value is not None:
            env[name] = value
    base = base_folder(condition.base_length)
    command = [sys.executable, "-m", "pytest", "-q", f"--basetemp={base}", *condition.options, *arguments]
    with log.open("wb") as output, tempfile.TemporaryDirectory(prefix="tc-home-") as home:
        if condition.other_user:
            Path(home).chmod(0o777)
            env = {name: value for name, value in env.items() if not name.startswith("XDG_")}
            env |= {"HOME": home, "HYPOTHESIS_STORAGE_DIRECTORY": f"{home}/hypothesis"}
            env |= {"PYTHONDONTWRITEBYTECODE": "1", "USER": "nobody", "LOGNAME": "nobody"}
            command = as_user([*command, "-p", "no:cacheprovider"])
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=output, stderr=output)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return done.returncode, lines[-1] if lines else "no output"


def as_user(command: list[str], uid: int = NOBODY, groups: str = "") -> list[str]:
    """Wrap a command so that root runs it as another user, in these groups, without capabilities.

    A checkout or an interpreter below a private folder such as /root is made reachable: the command gets a
    mount namespace of its own, in which an empty, readable folder covers the private one and holds only the
    checkout and the interpreter, at their usual paths.
    """
    needed = [ROOT, Path(sys.prefix), Path(sys.base_prefix)]
    private = {blocked for path in needed if (blocked := first_private_parent(path))}
    steps = ["set -e", "stage=$(mktemp -d)"]
    hidden = [shlex.quote(str(path)) for path in needed if first_private_parent(path)]
    for number, path in enumerate(hidden):
        steps += [f"mkdir $stage/{number}", f"mount --rbind {path} $stage/{number}"]
    steps += [f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(path))}" for path in private]
    for number, path in enumerate(hidden):
        steps += [f"mkdir -p {path}", f"mount --rbind $stage/{number} {path}"]
        steps += [f"umount --recursive --lazy $stage/{number}", f"rmdir $stage/{number}"]
    steps += ["rmdir $stage", 'cd "$PWD"', 'exec "$@"']
    member = [f"--groups={groups}" if groups else "--clear-groups"]
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", *member, *command]
    return ["unshare", "--mount", "sh", "-c", "\n".join(steps), "sh", *user] if private else user


def first_private_parent(path: Path) -> Path | None:
    """Find the outermost folder above `path` that other users may not enter."""
    return next((parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001), None)


def skip_reason(condition: Condition) -> str:
    """Explain why this condition cannot be tested here; empty if it can."""
    if not condition.other_user:
        return ""
    if os.getuid() != 0:
        return "only root can run the tests as another user"
    probe = as_user([sys.executable, "-c", "import pytest, torch; open('pyproject.toml')"])
    try:
        done = subprocess.run(probe, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError as error:
        return f"{error.filename} is needed"
    if done.returncode == 0:
        return ""
    cause = done.stderr.strip().splitlines()[-1:]
    return f"user {NOBODY} cannot run {sys.executable} in {ROOT}: {''.join(cause)}"


def main(arguments: list[str]) -> int:
    """Run the conditions that are named, or all; returns the exit status."""
    names, tests = arguments, SUITE
    if "--" in arguments:
        names, tests = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    if unknown := set(names) - set(CONDITIONS):
        print(f"unknown condition: {', '.join(sorted(unknown))}; choose from {', '.join(CONDITIONS)}")
        return 2
    logs, failed = Path(tempfile.mkdtemp(prefix="tc-matrix-")), False
    for name in names or CONDITIONS:
        condition, log = CONDITIONS[name], logs / f"{name}.log"
        if reason := skip_reason(condition):
            print(f"{name:12} skipped  {reason}", flush=True)
            continue
        began = time.monotonic()
        status, summary = run(condition, log, tests)
        failed |= status != 0
        verdict = "FAILED" if status else "passed"
        print(f"{name:12} {verdict:8} {time.monotonic() - began:4.0f} s  {summary}  {log}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
